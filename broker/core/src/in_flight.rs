//! Publications that wait for their PUBACK.

/// Packet ids in use on one connection, each with what it stands for.
///
/// Empty it holds no memory, because a parked connection has nothing in flight.
#[derive(Debug, Clone)]
pub struct InFlight<T> {
    entries: Vec<(u16, T)>,
    last_id: u16,
    max: u16,
}

impl<T> InFlight<T> {
    /// Allows `max` publications at a time.
    pub fn new(max: u16) -> Self {
        Self { entries: Vec::new(), last_id: 0, max }
    }

    /// Returns how many more may be sent now.
    pub fn room(&self) -> usize {
        usize::from(self.max).saturating_sub(self.entries.len())
    }

    /// Tells whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes a packet id for `item`; `None` if there is no room.
    pub fn insert(&mut self, item: T) -> Option<u16> {
        if self.room() == 0 {
            return None;
        }
        // There are more ids than room, so the search ends.
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if self.entries.iter().all(|(id, _)| *id != self.last_id) {
                break;
            }
        }
        if self.entries.is_empty() {
            // Very many connections have one at a time.
            self.entries.reserve_exact(1);
        }
        self.entries.push((self.last_id, item));
        Some(self.last_id)
    }

    /// Gives back the packet id and what it stood for; `None` if it is not in use.
    pub fn remove(&mut self, packet_id: u16) -> Option<T> {
        let at = self.entries.iter().position(|(id, _)| *id == packet_id)?;
        let (_, item) = self.entries.remove(at);
        if self.entries.is_empty() {
            self.entries = Vec::new();
        }
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_never_zero_and_never_in_use_twice() {
        let mut in_flight = InFlight::new(2);
        in_flight.last_id = u16::MAX - 1;
        assert_eq!(in_flight.insert('a'), Some(u16::MAX));
        assert_eq!(in_flight.insert('b'), Some(1));
        assert_eq!(in_flight.insert('c'), None, "no room");
        assert_eq!(in_flight.remove(u16::MAX), Some('a'));
        assert_eq!(in_flight.remove(u16::MAX), None, "acknowledged twice");
        in_flight.last_id = 0;
        assert_eq!(in_flight.insert('d'), Some(2), "1 is still in use");
    }
}
