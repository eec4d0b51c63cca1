//! Tests of remarks on expressions.

use super::{Negated, Remark, remarks};
use crate::expression::Role;

#[test]
fn negations_count_for_what_they_negate() {
    let is_bypassable = |source| !remarks(source, Role::Predicate).is_empty();
    assert!(is_bypassable("request.path == '/a'"));
    assert!(is_bypassable(
        "!(request.path != '/a' && !(request.path == '/a'))"
    ));
    assert!(is_bypassable("request.headers[':path'].matches('^/a')"));
    assert!(is_bypassable("request.path in ['/a'] || true"));
    assert!(is_bypassable("request.path.split('?')[0] == '/a'"));
    assert!(is_bypassable("request.path.lowerAscii() == '/a'"));
    assert!(is_bypassable(
        "request.path.trim().lowerAscii().startsWith('/a')"
    ));
    assert!(!is_bypassable("request.path.split('?')[0] != '/a'"));
    assert!(!is_bypassable(
        "!(request.path == '/a' || request.path.endsWith('/b'))"
    ));
    assert!(!is_bypassable("request.path != '/a'"));
    assert!(!is_bypassable("request.url_path == '/a'"));
    assert!(is_bypassable("(request.path == '/a') == false"));
}

#[test]
fn values_that_are_tested_are_not_missing() {
    let found = |source| remarks(source, Role::Predicate);
    let negated = |name: &str, form| {
        let name = name.to_owned();
        vec![Remark::NegatedMissing { name, form }]
    };
    assert_eq!(found("!auth.a.b"), negated("auth.a.b", Negated::Value));
    assert_eq!(
        found("!request.headers['x-tier'].contains('gold')"),
        negated("request.headers[\"x-tier\"]", Negated::Call)
    );
    assert_eq!(
        found("!metadata.filter_metadata['a.b'].tier.startsWith('a')"),
        [
            negated("metadata.filter_metadata[\"a.b\"].tier", Negated::Call),
            vec![Remark::Namespace("a.b".to_owned())]
        ]
        .concat()
    );
    assert_eq!(
        found("!requestBodyJSON(['/a', '/b']).startsWith('a')"),
        negated("requestBodyJSON([\"/a\", \"/b\"])", Negated::Call)
    );
    assert_eq!(
        found("!'gold'.contains(auth.tier)"),
        negated("auth.tier", Negated::Call)
    );
    assert_eq!(
        found("!(auth.a || (auth.b && llm.stream))"),
        [
            negated("auth.a", Negated::Operand),
            negated("auth.b", Negated::Operand)
        ]
        .concat()
    );
    assert_eq!(found("!(auth.a == true || auth.b == true)"), []);
    assert_eq!(found("auth.a || auth.b"), []);
    assert_eq!(found("has(auth.a.b) && !auth.a.b"), []);
    assert_eq!(found("auth.a.b != null && !(auth.a.b < 5)"), []);
    assert_eq!(found("!auth.?a.?b.orValue(false)"), []);
    assert_eq!(found("!auth.roles.exists(r, r == 'admin')"), []);
    assert_eq!(found("!llm.stream"), []);
}

#[test]
fn namespaces_of_the_metadata_are_found() {
    let source = "metadata.filter_metadata['a.b'].c == 1 && metadata.filter_metadata.d['e'] == 2 \
                  && route.metadata.filter_metadata['f'].g == 3";
    let namespaces = remarks(source, Role::Predicate).into_iter();
    let namespaces = namespaces.map(|remark| match remark {
        Remark::Namespace(namespace) => namespace,
        other => format!("{other:?}"),
    });
    assert_eq!(namespaces.collect::<Vec<_>>(), ["a.b", "d"]);
}
