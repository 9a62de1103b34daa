//! What the program can be told to die at. (Having a test here also has cargo build the program itself beside
//! the tests of the workspace.)

/// What names the file that says where to die, as it stands in the program.
const NAME: &[u8] = b"DOCKSWAP_CRASH_AT";

#[test]
fn crash_points_are_in_the_program_with_their_feature_and_only_then() {
    let program = std::fs::read(env!("CARGO_BIN_EXE_dockswap")).expect("the program that was just built");
    let found = program.windows(NAME.len()).any(|bytes| bytes == NAME);
    assert_eq!(found, cfg!(feature = "crash-points"));
}
