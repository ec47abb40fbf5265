"""Operations: health, usage and cost, the outbox and the inbox, housekeeping."""
