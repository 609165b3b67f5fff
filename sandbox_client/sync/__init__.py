"""The same API without asyncio, derived from the asynchronous one."""
