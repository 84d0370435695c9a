//! Remembers what was made from what, so that a second run has nothing to do.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

/// A file beside a result that holds the recipe it was made from, word for word.
#[derive(Debug)]
pub(crate) struct Stamp {
    file: PathBuf,
    recipe: String,
}

impl Stamp {
    /// The stamp of a result that `recipe` fully describes.
    pub(crate) fn new(file: PathBuf, recipe: String) -> Self {
        Self { file, recipe }
    }

    /// Whether the result was made from this recipe.
    pub(crate) fn is_current(&self) -> bool {
        fs::read_to_string(&self.file).is_ok_and(|made_from| made_from == self.recipe)
    }

    /// Says that the result is now made from this recipe.
    pub(crate) fn write(&self) -> Result<()> {
        if let Some(dir) = self.file.parent() {
            fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        }
        fs::write(&self.file, &self.recipe).with_context(|| format!("cannot write {}", self.file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_current_only_for_the_recipe_it_was_written_with() {
        let file = std::env::temp_dir().join(format!("weir-xtask-stamp-{}", std::process::id()));
        let one = Stamp::new(file.clone(), "mcp==1".into());
        assert!(!one.is_current());
        one.write().unwrap();
        assert!(one.is_current());
        assert!(!Stamp::new(file.clone(), "mcp==2".into()).is_current());
        fs::remove_file(file).unwrap();
    }
}
