//! The agent's credentials, end to end: unmodified clients without a working key, servers that take nothing unsigned and
//! verify with botocore, STS and Secrets Manager as moto emulates them. Needs root.

mod callers;
mod clients;
mod failures;
mod many;
mod others;
mod overheard;
mod placeholders;
mod scan;
mod sentence;
mod signing;
mod trial;
