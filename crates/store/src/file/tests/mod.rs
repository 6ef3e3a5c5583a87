//! What only a store in a file can get wrong.

mod crash;
mod disk;
mod failing;
mod files;
mod model;
mod suite;
