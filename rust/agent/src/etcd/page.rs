//! Page sizes for listing keys. etcd limits pages by keys, but messages by bytes: 4 MiB, where a single value may have
//! 1.5 MiB.

/// Target size of a page, in bytes.
const TARGET: usize = 1 << 20;

/// Maximum number of keys in a page.
const MOST: usize = 1000;

/// Number of keys to request at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page(usize);

impl Page {
    /// First page of a list of unknown size.
    pub const fn first() -> Self {
        Self(100)
    }

    /// Number of keys to request.
    pub fn limit(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// Page after one with this many keys and bytes: as many keys as fit [`TARGET`] at the same average size.
    pub fn after(self, keys: usize, bytes: usize) -> Self {
        let fitting = TARGET.saturating_mul(keys.max(1)) / bytes.max(1);
        Self(fitting.clamp(1, MOST))
    }

    /// Smaller page after one that exceeded the message size. `None` if that was a single key.
    pub const fn shorter(self) -> Option<Self> {
        if self.0 > 1 { Some(Self(self.0.div_ceil(8))) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST, Page, TARGET};

    #[test]
    fn a_list_of_long_values_is_read_in_short_pages() {
        assert_eq!(Page::first().after(100, 20_000), Page(MOST), "short values");
        assert_eq!(Page::first().after(0, 0), Page(MOST), "no keys");
        assert_eq!(Page(MOST).after(2, 3 << 20), Page(1), "values that do not fit twice");
        assert_eq!(Page(1).after(1, 100_000), Page(TARGET / 100_000), "it grows again");
    }

    #[test]
    fn a_page_that_was_too_long_gets_shorter_down_to_one_key() {
        let mut page = Page(MOST);
        let mut sizes = Vec::new();
        while let Some(shorter) = page.shorter() {
            sizes.push(shorter.limit());
            page = shorter;
        }
        assert_eq!(sizes, [125, 16, 2, 1]);
    }
}
