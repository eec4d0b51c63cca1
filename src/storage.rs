//! Counters: how much of each limit is used.
