//! The functions and macros that expressions can call.

/// The style of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// `size(x)`
    Global,
    /// `x.size()`
    Member,
}

/// A function or a macro in one style of call.
#[derive(Debug)]
pub(super) struct Function {
    /// The name, with its namespace.
    pub(super) name: &'static str,
    /// The style of its calls.
    pub(super) style: Style,
    /// The numbers of arguments that it takes, without the value that a method is called on.
    pub(super) arguments: &'static [usize],
}

const fn global(name: &'static str, arguments: &'static [usize]) -> Function {
    Function {
        name,
        style: Style::Global,
        arguments,
    }
}

const fn member(name: &'static str, arguments: &'static [usize]) -> Function {
    Function {
        name,
        style: Style::Member,
        arguments,
    }
}

/// Names of functions in other languages, each with CEL's name.
const ELSEWHERE: &[(&str, &str)] = &[
    ("not", "!"),
    ("lower", "lowerAscii"),
    ("toLowerCase", "lowerAscii"),
    ("upper", "upperAscii"),
    ("toUpperCase", "upperAscii"),
    ("len", "size"),
    ("length", "size"),
    ("includes", "contains"),
    ("match", "matches"),
    ("any", "exists"),
    ("strip", "trim"),
    ("int64", "int"),
    ("float", "double"),
    ("str", "string"),
];

/// Returns the function that a name of another language stands for.
pub(super) fn elsewhere(name: &str) -> Option<&'static str> {
    let (_, known) = ELSEWHERE.iter().find(|(other, _)| *other == name)?;
    Some(known)
}

/// All functions: macros, then the standard library, then the strings extension.
pub(super) static FUNCTIONS: [Function; 55] = [
    global("has", &[1]),
    member("all", &[2]),
    member("exists", &[2]),
    member("exists_one", &[2]),
    member("existsOne", &[2]),
    member("map", &[2, 3]),
    member("filter", &[2]),
    global("requestBodyJSON", &[1]),
    global("bool", &[1]),
    global("bytes", &[1]),
    global("double", &[1]),
    global("duration", &[1]),
    global("dyn", &[1]),
    global("int", &[1]),
    global("string", &[1]),
    global("timestamp", &[1]),
    global("type", &[1]),
    global("uint", &[1]),
    global("size", &[1]),
    member("size", &[0]),
    member("contains", &[1]),
    member("endsWith", &[1]),
    member("startsWith", &[1]),
    global("matches", &[2]),
    member("matches", &[1]),
    member("getDate", &[0, 1]),
    member("getDayOfMonth", &[0, 1]),
    member("getDayOfWeek", &[0, 1]),
    member("getDayOfYear", &[0, 1]),
    member("getFullYear", &[0, 1]),
    member("getHours", &[0, 1]),
    member("getMilliseconds", &[0, 1]),
    member("getMinutes", &[0, 1]),
    member("getMonth", &[0, 1]),
    member("getSeconds", &[0, 1]),
    global("optional.none", &[0]),
    global("optional.of", &[1]),
    global("optional.ofNonZeroValue", &[1]),
    member("hasValue", &[0]),
    member("or", &[1]),
    member("orValue", &[1]),
    member("value", &[0]),
    member("charAt", &[1]),
    member("format", &[1]),
    member("indexOf", &[1, 2]),
    member("join", &[0, 1]),
    member("lastIndexOf", &[1, 2]),
    member("lowerAscii", &[0]),
    global("strings.quote", &[1]),
    member("replace", &[2, 3]),
    member("reverse", &[0]),
    member("split", &[1, 2]),
    member("substring", &[1, 2]),
    member("trim", &[0]),
    member("upperAscii", &[0]),
];

/// Returns the function of this name and style.
pub(super) fn find(name: &str, style: Style) -> Option<&'static Function> {
    FUNCTIONS
        .iter()
        .find(|function| function.name == name && function.style == style)
}

/// Returns whether a name is that of an operator, which the parser produces and no expression contains.
pub(super) fn is_operator(name: &str) -> bool {
    name.contains(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.')
}

#[cfg(test)]
mod tests;
