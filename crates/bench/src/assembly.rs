//! The few BPF instructions that the benchmarks' own programs are made of.

/// One instruction; loads of 64-bit values take two.
pub(crate) type Instruction = u64;

/// A register; R1 to R5 are arguments, R0 the result, R6 to R9 survive calls.
#[derive(Clone, Copy)]
pub(crate) struct R(pub(crate) u8);

/// Helpers, by their numbers.
#[derive(Clone, Copy)]
pub(crate) enum Helper {
    TailCall = 12,
    XdpAdjustHead = 44,
    RedirectMap = 51,
    XdpAdjustMeta = 54,
}

/// A program that grows by one instruction at a time.
#[derive(Default)]
pub(crate) struct Assembly(Vec<Instruction>);

impl Assembly {
    /// The program.
    pub(crate) fn finish(self) -> Vec<Instruction> {
        self.0
    }

    pub(crate) fn copy(&mut self, to: R, from: R) {
        self.push(0xbf, to, from, 0, 0);
    }

    pub(crate) fn set(&mut self, to: R, value: i32) {
        self.push(0xb7, to, R(0), 0, value);
    }

    pub(crate) fn add(&mut self, to: R, value: i32) {
        self.push(0x07, to, R(0), 0, value);
    }

    pub(crate) fn and(&mut self, to: R, value: i32) {
        self.push(0x57, to, R(0), 0, value);
    }

    pub(crate) fn multiply(&mut self, to: R, by: i32) {
        self.push(0x27, to, R(0), 0, by);
    }

    /// The lower 16 bits in network byte order, and nothing above.
    pub(crate) fn network_order_16(&mut self, to: R) {
        self.push(0xdc, to, R(0), 0, 16);
    }

    pub(crate) fn add_register(&mut self, to: R, from: R) {
        self.push(0x0f, to, from, 0, 0);
    }

    pub(crate) fn shift_right(&mut self, to: R, bits: i32) {
        self.push(0x77, to, R(0), 0, bits);
    }

    pub(crate) fn load_16(&mut self, to: R, from: R, offset: i16) {
        self.push(0x69, to, from, offset, 0);
    }

    pub(crate) fn load_byte(&mut self, to: R, from: R, offset: i16) {
        self.push(0x71, to, from, offset, 0);
    }

    pub(crate) fn load_word(&mut self, to: R, from: R, offset: i16) {
        self.push(0x61, to, from, offset, 0);
    }

    pub(crate) fn load(&mut self, to: R, from: R, offset: i16) {
        self.push(0x79, to, from, offset, 0);
    }

    pub(crate) fn store(&mut self, to: R, offset: i16, from: R) {
        self.push(0x7b, to, from, offset, 0);
    }

    pub(crate) fn store_16(&mut self, to: R, offset: i16, from: R) {
        self.push(0x6b, to, from, offset, 0);
    }

    /// Has `R(2)` point at the packet of an XDP program; skips instructions unless the packet has
    /// so many bytes. `R(3)` and `R(4)` are used.
    pub(crate) fn packet(&mut self, context: R, len: i32, instructions: i16) {
        self.load_word(R(2), context, 0);
        self.load_word(R(3), context, 4);
        self.copy(R(4), R(2));
        self.add(R(4), len);
        self.push(0x2d, R(4), R(3), instructions, 0);
    }

    /// Skips instructions unless it has a value.
    pub(crate) fn skip_unless(&mut self, a: R, value: i32, instructions: i16) {
        self.push(0x55, a, R(0), instructions, value);
    }

    /// A map, by its descriptor.
    pub(crate) fn map(&mut self, to: R, map: i32) {
        self.push(0x18, to, R(1), 0, map);
        self.push(0, R(0), R(0), 0, 0);
    }

    /// The address of the only row of a map.
    pub(crate) fn row_of(&mut self, to: R, map: i32) {
        self.push(0x18, to, R(2), 0, map);
        self.push(0, R(0), R(0), 0, 0);
    }

    pub(crate) fn call(&mut self, helper: Helper) {
        self.push(0x85, R(0), R(0), 0, helper as i32);
    }

    /// Ends with a result.
    pub(crate) fn exit(&mut self, result: i32) {
        self.set(R(0), result);
        self.end();
    }

    /// Ends with what is in R0.
    pub(crate) fn end(&mut self) {
        self.push(0x95, R(0), R(0), 0, 0);
    }

    fn push(&mut self, code: u8, to: R, from: R, offset: i16, value: i32) {
        let [low, high] = offset.to_le_bytes();
        let [a, b, c, d] = value.to_le_bytes();
        self.0.push(u64::from_le_bytes([code, to.0 | from.0 << 4, low, high, a, b, c, d]));
    }
}
