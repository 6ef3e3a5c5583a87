//! How long files, functions and lines may be: what fits into one reader's head, and on a page.

use super::{File, Finding};
use crate::source::functions_of;

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;
const LINE_CHARACTERS: usize = 100;

pub(super) fn file(file: &File) -> Vec<Finding> {
    let lines = file.text.lines().count();
    if !is_program(file) || lines <= FILE_LINES {
        return Vec::new();
    }
    let message = format!("{lines} lines; a file has at most {FILE_LINES}");
    vec![file.finding(FILE_LINES + 1, message)]
}

pub(super) fn functions(file: &File) -> Vec<Finding> {
    functions_of(&file.code)
        .into_iter()
        .filter(|function| function.lines > FUNCTION_LINES)
        .map(|function| {
            let (name, lines) = (function.name, function.lines);
            let message = format!("`{name}` has {lines} lines; at most {FUNCTION_LINES}");
            file.finding(function.line, message)
        })
        .collect()
}

/// rustfmt leaves alone what it cannot break: comments, literals and macros.
pub(super) fn lines(file: &File) -> Vec<Finding> {
    let lines = file.text.lines().enumerate().filter(|_| is_program(file));
    lines
        .map(|(at, line)| (at + 1, line.chars().count()))
        .filter(|(_, characters)| *characters > LINE_CHARACTERS)
        .map(|(line, characters)| {
            file.finding(line, format!("{characters} characters; at most {LINE_CHARACTERS}"))
        })
        .collect()
}

fn is_program(file: &File) -> bool {
    file.is("rs") || file.is("proto") || file.is("sh")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::messages;

    #[test]
    fn a_file_of_500_lines_passes_and_one_more_does_not() {
        assert!(messages(file, "a.rs", &"x\n".repeat(500)).is_empty());
        let found = messages(file, "a.rs", &"x\n".repeat(501));
        assert_eq!(found, ["501: 501 lines; a file has at most 500"]);
        assert!(messages(file, "a.md", &"x\n".repeat(501)).is_empty());
    }

    #[test]
    fn a_function_of_70_lines_passes_and_one_more_does_not() {
        let of_lines = |lines: usize| format!("\nfn f() {{\n{}}}\n", "    x;\n".repeat(lines - 2));
        assert!(messages(functions, "a.rs", &of_lines(70)).is_empty());
        let found = messages(functions, "a.rs", &of_lines(71));
        assert_eq!(found, ["2: `f` has 71 lines; at most 70"]);
    }

    #[test]
    fn a_line_is_measured_in_characters() {
        assert!(messages(lines, "a.rs", &"é".repeat(100)).is_empty());
        let found = messages(lines, "a.rs", &"é".repeat(101));
        assert_eq!(found, ["1: 101 characters; at most 100"]);
    }
}
