"""Keeping a workspace in object storage; docs/pod-contract.md, section Storage, is the protocol.

names, manifest, head, sync_plan, knowledge are pure; object_store is what a store must do, s3_store and directory_store
do it; sandbox_files speaks to the runtime; generations, pushing, restoring put them together; news and freshness find
what others stored; workspace is the way in, opening makes one.
"""
