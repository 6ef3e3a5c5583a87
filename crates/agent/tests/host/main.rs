//! An agent and the kernel of a host of its own: what it sets up, keeps, hands over and removes.

mod eager;
mod kernel;
mod keys;
mod late;
mod layouts;
mod look;
mod pair;
mod resume;
mod stack;
mod updates;
mod world;
