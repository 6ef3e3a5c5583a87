//! What the fuzz targets do with their input, apart from the fuzzer: the ordinary tests use it too.

pub mod fleet;
pub mod source;
pub mod targets;
