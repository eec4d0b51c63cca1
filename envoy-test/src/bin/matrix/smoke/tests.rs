use super::*;

#[test]
fn results_are_read_from_output_of_tests() {
    let output =
        "\nrunning 2 tests\ntest a::b ... ok\ntest c ... FAILED\ntest d ... ignored\n\nfailures:\n";
    let expected = [("a::b", true), ("c", false), ("d", false)];
    assert_eq!(results(output), HashMap::from(expected));
}
