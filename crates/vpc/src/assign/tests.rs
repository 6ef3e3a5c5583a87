mod convergence;
mod dividers;
mod division;
mod story;
mod world;
