//! Rust source as the tidy rules see it: without comments and literals, and cut into functions.

/// The source with every comment and every character inside a literal replaced by a space, so
/// that what is left is code. Lines and columns stay where they are.
pub(crate) fn code_of(source: &str) -> String {
    let mut blanker = Blanker { rest: source, code: String::with_capacity(source.len()) };
    while blanker.step() {}
    blanker.code
}

/// A function and how long it is.
#[derive(Debug, PartialEq)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// The line of its `fn`, from 1.
    pub(crate) line: usize,
    /// From the line of its `fn` to that of its closing brace, both included.
    pub(crate) lines: usize,
}

/// The functions with a body in what [`code_of`] returned.
pub(crate) fn functions_of(code: &str) -> Vec<Function> {
    words_of(code)
        .filter(|(_, word)| *word == "fn")
        .filter_map(|(at, _)| {
            let after = code.get(at + 2..)?;
            // A function pointer's type has no name.
            let name: String = after.trim_start().chars().take_while(is_of_word).collect();
            let length = (!name.is_empty()).then(|| body_end(after))??;
            let line = line_at(code, at);
            Some(Function { name, line, lines: line_at(code, at + 2 + length) - line + 1 })
        })
        .collect()
}

/// The words (identifiers, keywords, numbers) of code with their byte offsets.
pub(crate) fn words_of(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let start = code.as_ptr() as usize;
    code.split(|c| !is_of_word(&c))
        .filter(|word| !word.is_empty())
        .map(move |word| (word.as_ptr() as usize - start, word))
}

/// The line, from 1, of a byte offset.
pub(crate) fn line_at(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

/// The offset of the brace that ends the function whose signature starts here; `None` for a
/// signature alone.
fn body_end(signature: &str) -> Option<usize> {
    // Semicolons stand in array types too: those are inside brackets.
    let mut brackets = 0_usize;
    let mut braces = 0_usize;
    for (at, c) in signature.char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets = brackets.saturating_sub(1),
            '{' => braces += 1,
            '}' => braces = braces.checked_sub(1)?,
            ';' if brackets == 0 && braces == 0 => return None,
            _ => {}
        }
        if c == '}' && braces == 0 {
            return Some(at);
        }
    }
    None
}

fn is_of_word(c: &char) -> bool {
    c.is_alphanumeric() || *c == '_'
}

/// Walks over source and writes its code.
struct Blanker<'a> {
    rest: &'a str,
    code: String,
}

impl Blanker<'_> {
    /// Takes one comment, literal, word or character; false at the end.
    fn step(&mut self) -> bool {
        let Some(first) = self.rest.chars().next() else { return false };
        if self.rest.starts_with("//") {
            self.blank(self.rest.find('\n').unwrap_or(self.rest.len()));
        } else if self.rest.starts_with("/*") {
            self.blank(comment_length(self.rest));
        } else if let Some(hashes) = raw_string(self.rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let open = self.rest.find('"').map_or(0, |at| at + 1);
            let body = self.rest[open..].find(&end);
            self.blank(body.map_or(self.rest.len(), |length| open + length + end.len()));
        } else if first == '"' {
            self.blank(quoted_length(self.rest, '"'));
        } else if is_character(self.rest) {
            self.blank(quoted_length(self.rest, '\''));
        } else {
            let word = self.rest.find(|c| !is_of_word(&c)).unwrap_or(self.rest.len());
            self.keep(word.max(first.len_utf8()));
        }
        true
    }

    fn keep(&mut self, length: usize) {
        let (kept, rest) = self.rest.split_at(length);
        self.code.push_str(kept);
        self.rest = rest;
    }

    fn blank(&mut self, length: usize) {
        let (blanked, rest) = self.rest.split_at(length);
        self.code.extend(blanked.chars().map(|c| if c == '\n' { c } else { ' ' }));
        self.rest = rest;
    }
}

/// The length of the block comment that starts here; they nest.
fn comment_length(source: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(rest) = source.get(at..).filter(|rest| !rest.is_empty()) {
        let step = if rest.starts_with("/*") {
            depth += 1;
            2
        } else if rest.starts_with("*/") {
            depth -= 1;
            2
        } else {
            rest.chars().next().map_or(1, char::len_utf8)
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The number of hashes if a raw string starts here.
fn raw_string(source: &str) -> Option<usize> {
    let prefix = ["r", "br", "cr"].iter().find_map(|prefix| {
        let rest = source.strip_prefix(prefix)?;
        rest.starts_with(['"', '#']).then_some(rest)
    })?;
    let quote = prefix.find(|c| c != '#')?;
    prefix[quote..].starts_with('"').then_some(quote)
}

/// Whether a character literal starts here, rather than a lifetime.
fn is_character(source: &str) -> bool {
    let mut chars = source.chars();
    match (chars.next(), chars.next(), chars.next()) {
        (Some('\''), Some('\\'), _) => true,
        (Some('\''), Some(_), Some(third)) => third == '\'',
        _ => false,
    }
}

/// The length of the literal that starts here and ends with the same quote, unescaped.
fn quoted_length(source: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in source.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return at + c.len_utf8();
        }
    }
    source.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_lines_stay() {
        let source = "let a = \"unsafe {\"; // unsafe\n/* a /* b */ unsafe\n*/ let b = 'u';\n";
        let code = code_of(source);
        assert!(!code.contains("unsafe") && !code.contains('{') && !code.contains('u'));
        assert_eq!(code.lines().count(), source.lines().count());
        assert_eq!(code.lines().nth(2).map(str::trim), Some("let b =    ;"));
    }

    #[test]
    fn escapes_raw_strings_and_lifetimes_do_not_confuse() {
        assert_eq!(code_of(r#"f("\"{", '\'', '"');"#).replace(' ', ""), "f(,,);");
        assert_eq!(code_of("f(r#\"a\" {\"#, br\"\\\");").replace(' ', ""), "f(,);");
        assert_eq!(code_of("fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}");
        assert_eq!(code_of("r#type.attr"), "r#type.attr");
    }

    #[test]
    fn functions_are_measured_with_signature_and_braces() {
        let code = "fn one() {}\n\nfn two(\n    a: [u8; 2],\n) -> u8 {\n    { 1 }\n}\n";
        let found = functions_of(code);
        let lengths: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.line, f.lines)).collect();
        assert_eq!(lengths, [("one", 1, 1), ("two", 3, 5)]);
    }

    #[test]
    fn a_signature_alone_and_a_pointer_type_are_no_functions() {
        assert_eq!(functions_of("trait T { fn f(&self) -> [u8; 2]; }"), []);
        assert_eq!(functions_of("type F = fn(u8) -> u8;\nstruct S {}"), []);
    }

    #[test]
    fn unfinished_source_is_read_to_its_end() {
        for source in ["\"", "/*", "r#\"", "'\\", "fn f(", "fn f() {"] {
            functions_of(&code_of(source));
        }
    }
}
