
/// Selects a mutant.
pub(crate) mod mutation {
    use std::fs::File;
    use std::io::Write;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    const MAX_SITES: usize = 16_384;

    /// The sites that were reached.
    static REACHED: [AtomicBool; MAX_SITES] = [const { AtomicBool::new(false) }; MAX_SITES];

    const UNREAD: u32 = u32::MAX;

    /// The number of the mutant that the environment selects; none is zero.
    static SELECTED: AtomicU32 = AtomicU32::new(UNREAD);

    /// Returns the mutant that is selected.
    #[inline(always)]
    pub(crate) fn selected(site: usize) -> u32 {
        if !REACHED[site].load(Ordering::Relaxed) {
            reach(site);
        }
        SELECTED.load(Ordering::Relaxed)
    }

    /// Notes a site that is reached for the first time, in the file that the environment names.
    fn reach(site: usize) {
        if SELECTED.load(Ordering::Relaxed) == UNREAD {
            let number = std::env::var("TOLLGATE_MUTANT").ok();
            let number = number.and_then(|number| number.parse().ok());
            SELECTED.store(number.unwrap_or(0), Ordering::Relaxed);
        }
        if let Some(path) = std::env::var_os("TOLLGATE_SITES") {
            let file = File::options().append(true).create(true).open(path);
            let line = format!("{site}\n");
            if let Err(error) = file.and_then(|mut file| file.write_all(line.as_bytes())) {
                eprintln!("site {site} cannot be noted: {error}");
            }
        }
        REACHED[site].store(true, Ordering::Relaxed);
    }
}
