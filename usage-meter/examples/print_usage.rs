//! Prints the usage of a recorded response.
//!
//! ```text
//! cargo run -p usage-meter --example print_usage -- response.headers response.body
//! cargo run -p usage-meter --example print_usage -- --content-type text/event-stream <response.body
//! ```
//!
//! A line of the headers file is `name: value`; the status is `:status: 200`.

use std::error::Error;
use std::io::Read;
use std::process::ExitCode;
use std::{env, fs, io};

use usage_meter::{HeaderCounts, Meter, RequestPath, ResponseHead};

const HELP: &str = "usage: print_usage [--path PATH] HEADERS BODY
       print_usage --content-type TYPE <BODY";

/// A recorded response.
struct Recording {
    /// The headers with their names in lower case.
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// The path of the request.
    path: String,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let recording = match arguments.as_slice() {
        [flag, content_type] if flag == "--content-type" => Recording::of_stdin(content_type)?,
        [headers, body] => Recording::of_files(headers, body, "")?,
        [flag, path, headers, body] if flag == "--path" => {
            Recording::of_files(headers, body, path)?
        }
        _ => {
            eprintln!("{HELP}");
            return Ok(ExitCode::from(2));
        }
    };
    let mut meter = Meter::new(&recording.head()?);
    meter.push(&recording.body);
    meter.finish();
    Ok(print(&meter))
}

/// Prints the results of a meter. Fails if there is no usage report.
fn print(meter: &Meter) -> ExitCode {
    println!("model: {}", meter.model().unwrap_or("unknown"));
    if let Some(error) = meter.decoding_error() {
        println!("decoding error: {error}");
    }
    let Some(usage) = meter.usage() else {
        println!("usage: not reported");
        println!("completion: {}", meter.is_completion());
        println!("output bytes: {}", meter.output_bytes());
        return ExitCode::FAILURE;
    };
    println!("partial: {}", meter.is_partial());
    println!("input tokens: {}", usage.input_tokens);
    println!("output tokens: {}", usage.output_tokens);
    println!("total tokens: {}", usage.total_tokens);
    println!("cached tokens: {}", usage.cached_tokens);
    println!("cache creation tokens: {}", usage.cache_creation_tokens);
    println!("reasoning tokens: {}", usage.reasoning_tokens);
    ExitCode::SUCCESS
}

// === impl Recording ===

impl Recording {
    /// Reads the body of a successful response from standard input.
    fn of_stdin(content_type: &str) -> io::Result<Self> {
        let mut body = Vec::new();
        io::stdin().read_to_end(&mut body)?;
        let headers = vec![
            (":status".to_owned(), "200".to_owned()),
            ("content-type".to_owned(), content_type.to_owned()),
        ];
        Ok(Self {
            headers,
            body,
            path: String::new(),
        })
    }

    /// Reads a response from a file of headers and a file with the body.
    fn of_files(headers: &str, body: &str, path: &str) -> io::Result<Self> {
        let headers = fs::read_to_string(headers)?
            .lines()
            .filter_map(|line| line.rsplit_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Ok(Self {
            headers,
            body: fs::read(body)?,
            path: path.to_owned(),
        })
    }

    fn head(&self) -> Result<ResponseHead<'_>, Box<dyn Error>> {
        let status = self
            .header(":status")
            .ok_or("no `:status` in the headers")?;
        Ok(ResponseHead {
            status: str::from_utf8(status)?.parse()?,
            content_type: self.header("content-type"),
            content_encoding: self.header("content-encoding"),
            path: RequestPath::of(self.path.as_bytes()),
            header_counts: HeaderCounts::read(|name| self.header(name)),
        })
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_bytes())
    }
}
