//! What all scenarios share: a small fleet, guests' frames, and an independent judge of frames.

pub(crate) mod frames;
pub(crate) mod oracle;
pub(crate) mod random;
pub(crate) mod topology;
pub(crate) mod world;

/// How often each property is tried: more if the environment asks for long tests.
pub(crate) fn cases() -> proptest::prelude::ProptestConfig {
    let default = proptest::prelude::ProptestConfig::default();
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    match std::env::var_os("MIZAR_TEST_FULL") {
        Some(_) if !asked => proptest::prelude::ProptestConfig { cases: 4096, ..default },
        _ => default,
    }
}
