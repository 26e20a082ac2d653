//! Decisions read from the bytes of an input; where they end everything is zero.

/// The bytes that are left.
pub struct Source<'a> {
    data: &'a [u8],
}

impl<'a> Source<'a> {
    /// All of an input.
    pub const fn new(data: &'a [u8]) -> Self {
        Self { data }
    }

    /// Whether nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let (&first, rest) = self.data.split_first().unwrap_or((&0, &[]));
        self.data = rest;
        first
    }

    /// True for one byte in `out_of`.
    pub fn rarely(&mut self, out_of: u8) -> bool {
        // Zero, which is what follows the end, is no.
        self.byte() % out_of == 1
    }

    /// One of a list.
    pub fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[usize::from(self.byte()) % list.len()]
    }

    /// Up to `most` bytes, as they are.
    pub fn bytes(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.data.split_at(self.data.len().min(most));
        self.data = rest;
        taken
    }
}
