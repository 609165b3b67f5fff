"""The sandbox's files, as the runtime reports them."""
