mod hop;
mod merge;
mod pool;
mod relay;
