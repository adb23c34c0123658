//! The sensitive statements whose execution has begun and not ended: a cursor goes on with one in a later
//! message, whose own text says nothing.
//!
//! Postgres tells of no end after an error, so an entry may be left of a statement that is gone; it goes
//! when another begins in the same place.

use pgrx::pg_sys;
use std::cell::Cell;

const MOST: usize = 128;

/// By address.
type Query = *mut pg_sys::QueryDesc;

thread_local! {
    static OPEN: [Cell<Query>; MOST] = const { [const { Cell::new(std::ptr::null_mut()) }; MOST] };
    static COUNT: Cell<usize> = const { Cell::new(0) };
    /// The transaction in which there were too many: all of it counts as sensitive.
    static TOO_MANY_IN: Cell<u32> = const { Cell::new(0) };
}

/// Says of a statement whether it is sensitive. `transaction` is the present one.
pub(super) fn set(query: Query, sensitive: bool, transaction: u32) {
    if COUNT.get() == 0 && !sensitive {
        return;
    }
    OPEN.with(|open| {
        let known = open.iter().find(|place| place.get() == query);
        match (known, sensitive) {
            (Some(_), true) | (None, false) => {}
            (Some(place), false) => {
                place.set(std::ptr::null_mut());
                COUNT.set(COUNT.get() - 1);
            }
            (None, true) => match open.iter().find(|place| place.get().is_null()) {
                Some(place) => {
                    place.set(query);
                    COUNT.set(COUNT.get() + 1);
                }
                None => {
                    TOO_MANY_IN.set(transaction);
                    // What errors left is gone with its transaction.
                    open.iter()
                        .for_each(|place| place.set(std::ptr::null_mut()));
                    COUNT.set(0);
                }
            },
        }
    });
}

/// Whether a statement is one of them.
pub(super) fn contain(query: Query, transaction: u32) -> bool {
    let too_many = TOO_MANY_IN.get();
    too_many != 0 && too_many == transaction
        || COUNT.get() > 0 && OPEN.with(|open| open.iter().any(|place| place.get() == query))
}
