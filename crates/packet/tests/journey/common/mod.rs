//! What all scenarios share: a small fleet, guests' frames, and an independent judge of frames.

pub(crate) mod frames;
pub(crate) mod oracle;
pub(crate) mod topology;
pub(crate) mod world;

use proptest::prelude::ProptestConfig;

/// How often each property is tried: more if the environment asks for long tests. What fails is
/// made a scenario with a name, instead of a file of seeds.
pub(crate) fn cases() -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    match std::env::var_os("MIZAR_TEST_FULL") {
        Some(_) if !asked => ProptestConfig { cases: 4096, ..default },
        _ => default,
    }
}
