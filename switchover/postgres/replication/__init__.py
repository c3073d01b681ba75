"""The live copy: rows follow by PostgreSQL's own logical replication, from the old side to the new and then back.

In order: ``published`` says which tables go, ``slot`` keeps what is written from one snapshot on, the copy is made
under that snapshot, ``subscription`` follows, ``lag`` and ``trouble`` watch, ``drain`` proves behind the fence that all
has arrived, ``backwards`` keeps the old side current afterwards, ``dismantle`` removes everything. Each of them
looks first, so all may be run again after a crash.

https://www.postgresql.org/docs/current/logical-replication.html
"""
