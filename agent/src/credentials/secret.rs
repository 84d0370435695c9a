//! A secret text.

use zeroize::Zeroizing;

/// A secret: wiped when it is dropped, and never printed.
pub(super) struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes over a text, without the white space around it; nothing if that is all there is.
    pub(super) fn new(text: &Zeroizing<String>) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// The text. It goes into a header or a request's body, nowhere else.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}
