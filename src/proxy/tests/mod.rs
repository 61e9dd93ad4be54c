mod hop;
mod merge;
mod relay;
