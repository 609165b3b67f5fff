"""The same API without asyncio, derived from the async one."""
