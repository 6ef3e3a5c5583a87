mod convergence;
mod dividers;
mod division;
mod lab;
mod story;
mod world;
