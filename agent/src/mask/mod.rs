//! `[[mask]]`: replaces the values that a rule selects, before a record is written. Knows JSON text and JSONPath, nothing
//! else.
