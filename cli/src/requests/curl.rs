//! `curl` command lines, as documentation and the developer tools of browsers have them.

use super::parts::{Error, complete, split_url};
use crate::replay::Request;

/// Options without a value that do not matter here.
const FLAGS: &[&str] = &[
    "--compressed",
    "--fail",
    "--fail-with-body",
    "--globoff",
    "--http1.1",
    "--http2",
    "--include",
    "--insecure",
    "--location",
    "--no-buffer",
    "--path-as-is",
    "--show-error",
    "--silent",
    "--verbose",
    "--http2-prior-knowledge",
    "--no-progress-meter",
    "--progress-bar",
    "--remote-name",
];

/// Options with a value that do not matter here.
const WITH_VALUE: &[&str] = &[
    "--cacert",
    "--cert",
    "--connect-timeout",
    "--connect-to",
    "--key",
    "--max-time",
    "--output",
    "--proxy",
    "--resolve",
    "--retry",
    "--write-out",
    "--unix-socket",
];

/// Short options, with their long forms.
const SHORT: &[(char, &str)] = &[
    ('X', "--request"),
    ('H', "--header"),
    ('d', "--data"),
    ('u', "--user"),
    ('A', "--user-agent"),
    ('e', "--referer"),
    ('b', "--cookie"),
    ('G', "--get"),
    ('I', "--head"),
    ('s', "--silent"),
    ('S', "--show-error"),
    ('v', "--verbose"),
    ('k', "--insecure"),
    ('i', "--include"),
    ('L', "--location"),
    ('N', "--no-buffer"),
    ('f', "--fail"),
    ('g', "--globoff"),
    ('o', "--output"),
    ('w', "--write-out"),
    ('m', "--max-time"),
    ('x', "--proxy"),
    ('E', "--cert"),
    ('O', "--remote-name"),
];

/// Options that this reader understands and that have a value.
const READ: &[&str] = &[
    "--request",
    "--header",
    "--data",
    "--data-raw",
    "--data-ascii",
    "--data-binary",
    "--data-urlencode",
    "--json",
    "--user",
    "--user-agent",
    "--referer",
    "--cookie",
    "--url",
    "--oauth2-bearer",
];

/// Returns the arguments of a command line that begins with `curl`, after a prompt.
pub(super) fn command(text: &str) -> Option<&str> {
    let text = text.trim_start_matches(['$', '#', '>', ' ']);
    let rest = text
        .strip_prefix("curl.exe")
        .or_else(|| text.strip_prefix("curl"))?;
    (rest.is_empty() || rest.starts_with(|next: char| next.is_whitespace() || next == '\\'))
        .then_some(rest)
}

/// Reads the arguments of a command line.
pub(super) fn read(arguments: &str) -> Result<Request, Error> {
    let words = words(arguments)?;
    let mut words = words.into_iter();
    let mut command = Command::default();
    let mut only_url = false;
    while let Some(word) = words.next() {
        if only_url || !word.starts_with('-') || word == "-" {
            command.url(word)?;
        } else if word == "--" {
            only_url = true;
        } else if word.starts_with("--") {
            let (name, attached) = match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (word, None),
            };
            command.option(&name, attached, &mut words)?;
        } else {
            let mut letters = word[1..].chars();
            while let Some(letter) = letters.next() {
                let known = SHORT.iter().find(|(short, _)| *short == letter);
                let (_, name) = known.ok_or_else(|| unknown(&format!("-{letter}")))?;
                let rest = letters.as_str().to_owned();
                let attached = (takes_value(name) && !rest.is_empty()).then_some(rest);
                let is_last = attached.is_some();
                command.option(name, attached, &mut words)?;
                if is_last {
                    break;
                }
            }
        }
    }
    command.request()
}

/// What was read of a command line.
#[derive(Debug, Default)]
struct Command {
    request: Request,
    url: Option<String>,
    data: Option<String>,
    is_json: bool,
    is_get: bool,
}

// === impl Command ===

impl Command {
    fn url(&mut self, url: String) -> Result<(), Error> {
        if let Some(known) = &self.url {
            return Err(Error::Curl(format!(
                "found the URLs {known:?} and {url:?}, expected one; quote what belongs together"
            )));
        }
        self.url = Some(url);
        Ok(())
    }

    fn option(
        &mut self,
        name: &str,
        attached: Option<String>,
        words: &mut impl Iterator<Item = String>,
    ) -> Result<(), Error> {
        if !takes_value(name) {
            match name {
                "--get" => self.is_get = true,
                "--head" => "HEAD".clone_into(&mut self.request.method),
                _ if FLAGS.contains(&name) => {}
                _ => return Err(unknown(name)),
            }
            return Ok(());
        }
        let value = attached.or_else(|| words.next());
        let value =
            value.ok_or_else(|| Error::Curl(format!("{name}: found nothing, expected a value")))?;
        match name {
            "--request" => self.request.method = value,
            "--url" => self.url(value)?,
            "--header" => self.header(&value),
            "--user-agent" => self.set("user-agent", value),
            "--referer" => self.set("referer", value),
            "--cookie" => self.set("cookie", value),
            "--oauth2-bearer" => self.set("authorization", format!("Bearer {value}")),
            "--user" => self.set(
                "authorization",
                format!("Basic {}", base64(value.as_bytes())),
            ),
            "--json" => {
                self.is_json = true;
                self.data(name, &value, "")?;
            }
            "--data" | "--data-ascii" | "--data-binary" => self.data(name, &value, "&")?,
            "--data-raw" => self.append(&value, "&"),
            "--data-urlencode" => {
                let (key, value) = value.split_once('=').unwrap_or(("", &value));
                let separator = if key.is_empty() { "" } else { "=" };
                let data = format!("{key}{separator}{}", encoded(value));
                self.append(&data, "&");
            }
            _ => {}
        }
        Ok(())
    }

    fn data(&mut self, name: &str, value: &str, separator: &str) -> Result<(), Error> {
        if value.starts_with('@') {
            return Err(Error::Curl(format!(
                "{name}: found {value:?}, expected the data itself; files are not read"
            )));
        }
        self.append(value, separator);
        Ok(())
    }

    fn append(&mut self, value: &str, separator: &str) {
        match &mut self.data {
            Some(data) => {
                data.push_str(separator);
                data.push_str(value);
            }
            None => self.data = Some(value.to_owned()),
        }
    }

    fn header(&mut self, line: &str) {
        if let Some((name, value)) = line.split_once(':') {
            let name = name.trim().to_ascii_lowercase();
            if !value.trim().is_empty() {
                self.request.headers.push((name, value.trim().to_owned()));
            }
        } else if let Some(name) = line.strip_suffix(';') {
            let name = name.trim().to_ascii_lowercase();
            self.request.headers.push((name, String::new()));
        }
    }

    fn set(&mut self, name: &str, value: String) {
        self.request.headers.retain(|(known, _)| known != name);
        self.request.headers.push((name.to_owned(), value));
    }

    fn request(self) -> Result<Request, Error> {
        let Self {
            mut request,
            url,
            data,
            is_json,
            is_get,
        } = self;
        let url = url.ok_or_else(|| Error::Curl("found no URL, expected one".to_owned()))?;
        let (mut path, host) = split_url(&url);
        if let Some(host) = host {
            request.default_header("host", host);
        }
        if is_get {
            if let Some(data) = &data {
                path.push(if path.contains('?') { '&' } else { '?' });
                path.push_str(data);
            }
        } else if let Some(data) = data {
            let kind = if is_json {
                request.default_header("accept", "application/json");
                "application/json"
            } else {
                "application/x-www-form-urlencoded"
            };
            request.default_header("content-type", kind);
            request.body = Some(data.into_bytes());
        }
        request.path = path;
        request.default_header("user-agent", "curl");
        request.default_header("accept", "*/*");
        complete(&mut request);
        Ok(request)
    }
}

fn takes_value(name: &str) -> bool {
    READ.contains(&name) || WITH_VALUE.contains(&name)
}

fn unknown(name: &str) -> Error {
    Error::Curl(format!(
        "found the option {name}, which is not read; remove it"
    ))
}

/// Splits a command line into words, as a POSIX shell does without expansions.
fn words(text: &str) -> Result<Vec<String>, Error> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next() {
                Some('\n') | None => {}
                Some('\r') => {
                    if chars.peek() == Some(&'\n') {
                        chars.next();
                    }
                }
                Some(other) => word.get_or_insert_default().push(other),
            },
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(other) => word.push(other),
                        None => return Err(unclosed('\'')),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some('\\') => match chars.next() {
                            Some('\n') => {}
                            Some(escaped @ ('"' | '\\' | '$' | '`')) => word.push(escaped),
                            Some(other) => word.extend(['\\', other]),
                            None => return Err(unclosed('"')),
                        },
                        Some(other) => word.push(other),
                        None => return Err(unclosed('"')),
                    }
                }
            }
            '$' if chars.peek() == Some(&'\'') => {
                chars.next();
                ansi(&mut chars, word.get_or_insert_default())?;
            }
            ';' | '|' | '&' if word.is_none() => break,
            other if other.is_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Reads the rest of a `$'...'`, which browsers write.
fn ansi(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    word: &mut String,
) -> Result<(), Error> {
    loop {
        match chars.next() {
            Some('\'') => return Ok(()),
            Some('\\') => match chars.next() {
                Some('n') => word.push('\n'),
                Some('r') => word.push('\r'),
                Some('t') => word.push('\t'),
                Some(kind @ ('u' | 'x')) => {
                    let most = if kind == 'u' { 4 } else { 2 };
                    let mut number = 0;
                    for _ in 0..most {
                        let Some(digit) = chars.peek().and_then(|digit| digit.to_digit(16)) else {
                            break;
                        };
                        number = number * 16 + digit;
                        chars.next();
                    }
                    word.push(char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                Some(other) => word.push(other),
                None => return Err(unclosed('\'')),
            },
            Some(other) => word.push(other),
            None => return Err(unclosed('\'')),
        }
    }
}

fn unclosed(quote: char) -> Error {
    Error::Curl(format!(
        "found a {quote} without its end, expected another {quote}"
    ))
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for index in 0..4 {
            let sextet = bits >> (18 - 6 * index) & 63;
            let is_padding = index > chunk.len();
            text.push(if is_padding {
                '='
            } else {
                ALPHABET[sextet as usize] as char
            });
        }
    }
    text
}

fn encoded(text: &str) -> String {
    let bytes = text.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            (byte as char).to_string()
        }
        other => format!("%{other:02X}"),
    });
    bytes.collect()
}
