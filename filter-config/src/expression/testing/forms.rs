//! Expressions of every form, which choices determine.

/// Forms of expressions of a type: leaves, then those with parts. `T`, `I`, `B`, `L` and `E` stand for a text, an
/// integer, a boolean, a list, and any expression.
struct Forms {
    kind: char,
    leaves: &'static str,
    larger: &'static str,
}

const FORMS: [Forms; 5] = [
    Forms {
        kind: 'T',
        leaves: "'' ; 'a' ; ',' ; 'aXé,b' ; request.path ; auth.b ; '%s' ; 'a.*b'",
        larger: "T + T ; T.trim() ; T.lowerAscii() ; T.upperAscii() ; T.reverse() ; T.charAt(I) ; \
            T.substring(I) ; T.substring(I, I) ; T.replace(T, T) ; T.replace(T, T, I) ; L.join(T) ; \
            T.split(T).join() ; string(E) ; strings.quote(T) ; B ? T : T ; T.format([E]) ; \
            T.split(T)[0] ; optional.of(T).orValue(E) ; auth.?b.or(optional.of(T)).value()",
    },
    Forms {
        kind: 'I',
        leaves: "0 ; 1 ; -1 ; 3 ; 9223372036854775807",
        larger: "I + I ; I - I ; I * I ; I / I ; I % I ; -I ; size(E) ; T.size() ; L.size() ; \
            T.indexOf(T) ; T.indexOf(T, I) ; T.lastIndexOf(T) ; T.lastIndexOf(T, I) ; int(E) ; \
            B ? I : I ; L[I] ; [I, I][I]",
    },
    Forms {
        kind: 'B',
        leaves: "true ; false ; request.path == 'a' ; has(auth.a) ; has(auth.none)",
        larger: "E == E ; E != E ; T == T ; L == L ; I < I ; T <= T ; I > I ; T >= T ; E < E ; \
            E in E ; E in L ; T in {'a': E, T: E} ; B && B ; B || B ; E && B ; E || B ; B && E ; !B ; \
            T.contains(T) ; T.startsWith(T) ; T.endsWith(T) ; T.matches(T) ; matches(T, T) ; \
            T.matches('a.*b') ; L.exists(x, x == E) ; L.all(x, x != E) ; L.exists(x, B) ; \
            L.all(y, E) ; L.exists_one(x, x == T) ; L.exists_one(y, E) ; optional.of(E).hasValue() ; \
            E.?a.hasValue() ; has(E.a) ; bool(E) ; L.exists(x, L.exists(y, x == y)) ; \
            type(E) == type(E)",
    },
    Forms {
        kind: 'L',
        leaves: "[] ; [1, 2] ; ['a', 'b,a'] ; ['a', null] ; auth.a ; [?auth.?b] ; x",
        larger: "L + L ; [E, E] ; [E, ?E] ; [E, ?optional.of(E)] ; T.split(T) ; T.split(T, I) ; \
            L.map(x, E) ; L.map(x, [x, E]) ; L.filter(x, B) ; L.filter(y, y == E) ; L.map(x, B, E) ; \
            B ? L : L ; {E: E, 'k': L}.k ; {T: I}.map(x, x)",
    },
    Forms {
        kind: 'E',
        leaves: "2u ; 1.0 ; 1.5 ; -2.5 ; b'a' ; null ; {} ; {'a': 'b'} ; auth.n ; \
            {2u: 'y'} ; duration('1m') ; timestamp(0) ; int ; type(1) ; \
            optional.of('a') ; optional.none() ; auth.none ; requestBodyJSON('') ; y ; \
            requestBodyJSON('/a') ; request ; google.protobuf.Timestamp ; \
            {?'a': optional.none()} ; request.path.getHours()",
        larger: "T ; T ; I ; I ; B ; B ; L ; L ; E.a ; E.?a ; E[E] ; E[?E] ; E['a'] ; E[0] ; E[0.0] ; \
            E[0.5] ; {E: E} ; {E: E, E: E}[E] ; {E: E, E: E} == {E: E} ; {?'a': E} ; E + E ; E - E ; E * E ; E / E ; E % E ; -E ; !E ; \
            optional.of(E) ; optional.ofNonZeroValue(E) ; E.or(E) ; E.orValue(E) ; E.value() ; \
            E.hasValue() ; uint(E) ; double(E) ; bytes(E) ; duration(E) ; timestamp(E) ; dyn(E) ; \
            type(E) ; timestamp(0).getHours(T) ; E.getHours() ; E ? E : E ; E.exists(x, E) ; \
            E.map(x, x) ; E.join(E) ; E.split(E) ; timestamp(I) - timestamp(I) ; \
            timestamp(I) + duration('1h') ; {'a': E}.?a ; {'a': E}.?a.b ; has(E.a.b)",
    },
];

/// Adds an expression of a type that the choices determine.
fn add(source: &mut String, kind: char, depth: usize, choices: &mut impl Iterator<Item = u8>) {
    let Some(forms) = FORMS.iter().find(|forms| forms.kind == kind) else {
        return;
    };
    let choice = usize::from(choices.next().unwrap_or(0));
    let of = if depth == 0 || choice % 4 == 0 {
        forms.leaves
    } else {
        forms.larger
    };
    let of: Vec<&str> = of.split(" ; ").collect();
    let Some(form) = of.iter().cycle().nth(choice / 4) else {
        return;
    };
    for character in form.chars() {
        if "TIBLE".contains(character) {
            source.push('(');
            add(source, character, depth.saturating_sub(1), choices);
            source.push(')');
        } else {
            source.push(character);
        }
    }
}

/// Returns the expression of a type, one of `TIBLE`, that these choices determine. It may be invalid.
#[must_use]
pub fn generated(kind: char, choices: impl IntoIterator<Item = u8>) -> String {
    // `x` and `y` are variables of macros.
    let mut source = "[['a,b', 2]].map(x, [1].map(y, ".to_owned();
    add(&mut source, kind, 3, &mut choices.into_iter());
    source + "))"
}
