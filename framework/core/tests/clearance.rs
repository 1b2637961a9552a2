//! What a policy has not released cannot be encoded: the compiler says so.

#[test]
fn what_is_not_cleared_cannot_be_encoded() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
}
