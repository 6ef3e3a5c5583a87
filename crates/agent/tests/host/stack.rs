//! How many bytes of stack a program takes, by its instructions: the kernel does not tell.
#![expect(clippy::unwrap_used, reason = "a part of tests")]

use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};
use std::collections::BTreeMap;

/// By the names of an object's functions.
pub(crate) fn of_functions(object: &[u8]) -> BTreeMap<String, usize> {
    let object = object::File::parse(object).unwrap();
    let functions = object.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text);
    let stack = |symbol: object::Symbol<'_, '_>| {
        let section = object.section_by_index(symbol.section_index()?).unwrap();
        let code = section.data_range(symbol.address(), symbol.size()).unwrap()?;
        Some((symbol.name().unwrap().to_owned(), stack(code)))
    };
    functions.filter_map(stack).collect()
}

/// How far below the frame pointer, register 10, a function's instructions go: they load and store
/// there, or take it, and add to that, for others to do so.
fn stack(code: &[u8]) -> usize {
    const FRAME: u8 = 10;
    let (mut deepest, mut copy) = (0, None);
    for instruction in code.chunks_exact(8) {
        let [operation, registers, offset @ .., a, b, c, d] = instruction else { unreachable!() };
        let (to, from) = (registers & 0x0f, registers >> 4);
        let depth = match operation & 0x07 {
            // Loads; stores.
            1 if from == FRAME => -i32::from(i16::from_le_bytes([offset[0], offset[1]])),
            2 | 3 if to == FRAME => -i32::from(i16::from_le_bytes([offset[0], offset[1]])),
            _ if *operation == 0x07 && copy == Some(to) => -i32::from_le_bytes([*a, *b, *c, *d]),
            _ => 0,
        };
        copy = (*operation == 0xbf && from == FRAME).then_some(to);
        deepest = deepest.max(depth);
    }
    deepest as usize
}

#[test]
fn the_stack_is_read_from_instructions() {
    // r2 = r10; r2 += -80; *(u32 *)(r10 - 72) = r1; r3 = *(u64 *)(r10 - 96); r1 += -512.
    let code = [
        [0xbf, 0xa2, 0, 0, 0, 0, 0, 0],
        [0x07, 0x02, 0, 0, 0xb0, 0xff, 0xff, 0xff],
        [0x63, 0x1a, 0xb8, 0xff, 0, 0, 0, 0],
        [0x79, 0xa3, 0xa0, 0xff, 0, 0, 0, 0],
        [0x07, 0x01, 0, 0, 0x00, 0xfe, 0xff, 0xff],
    ];
    assert_eq!(
        [0, 2, 3, 4, 5].map(|count| stack(code[..count].as_flattened())),
        [0, 80, 80, 96, 96]
    );
}
