"""Pure erasure coding: values to fragments and back, each checked against its digest."""
