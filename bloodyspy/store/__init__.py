"""The store of observations: what the workers' logs say, gathered exactly once, as Parquet by UTC day.

A store is one stream of rows (the service's, or its shadow's) in a folder, which may be at any fsspec address:

==============================  ======================================================================
``day=2026-11-22/….parquet``    a part: rows of one UTC day; never changed, only replaced by other parts
``aside/….parquet``             lines of the logs that are no observation, each with its place
``commits/0000000042.json``     what holds (:class:`bloodyspy.store.record.Record`): the parts, and how far
                                each log has been collected. The highest number alone counts.
==============================  ======================================================================

Whatever changes a store writes its parts first and then one record, whose number nobody else can take: rows and the
place that was reached become visible in one step, or not at all. A part that no record names is nobody's, and swept.
"""
