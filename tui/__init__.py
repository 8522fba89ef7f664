"""The terminal interface: screens over any Kafka cluster. It imports client and what lies below, never the broker.

Two threads: Textual's loop draws and takes keys; the session's loop talks to the cluster. Nothing on the first waits
for the network, whatever the cluster does.

| module | owns |
|---|---|
| ``session`` | one cluster, the thread and loop that talk to it, whether it answers |
| ``place``, ``part`` | where one is; what a loader found, panel by panel, with its age and its error |
| ``registry`` | the table of screens: name, loader, view, what ``:`` takes |
| ``data/`` | loaders: async functions from a cluster to rows. They import no Textual and run on the session's thread |
| ``columns``, ``filtering``, ``rows`` | a table without a screen: columns, the filter's grammar, order, marks, cursor |
| ``table``, ``table_lines`` | a panel of rows: moving about in it; its lines, of which only those in view are drawn |
| ``text_pane`` | the other kind of panel: lines of text |
| ``panels``, ``room`` | a screen's panels: how they share its lines, zoom, going from one to the next |
| ``view`` | the base of every screen: its poller, its keys |
| ``pace`` | how long a screen waits from one refresh to the next |
| ``screens/`` | one module a screen |
| ``dialogs/`` | changes: what a dialog shows and asks, and each change |
| ``chart``, ``bars``, ``sparkline`` | what is drawn rather than written |
| ``prompt``, ``jump``, ``outside`` | the line one types in, Ctrl-O, and programs beside: editor, pager, tmux |
| ``about``, ``contexts`` | over a screen: all of one row; the contexts there are |
| ``app`` | the application and its keys |
| ``navigation``, ``opening`` | where one is and was; what opens over a screen |
| ``chrome`` | header, banner, footer |
| ``interpreter``, ``driver`` | how the two threads share one interpreter; how keys are waited for |
| ``commands``, ``help``, ``palette`` | the words of ``:``; ``?`` and Ctrl-P |
| ``replay`` | a recording in the place of a cluster |
| ``signs``, ``styles`` | the characters of the interface, and ASCII for each; styles of widgets |
| ``preferences``, ``keymap`` | what is remembered, and said in the configuration file; the actions that have keys |

**To add a screen** (say Widgets):

1. ``data/widgets.py``: a NamedTuple for a row and ``async def load(session, place, memory) -> Loaded``. Take each
   panel's rows with ``await panel(session, coroutine)``: its error becomes that panel's, and the others stand. Keep
   what must outlive one refresh (rings for rates and trends, with a stated size) in ``memory``, a dict that is the
   view's own. Send few requests: ``tests/tui/test_requests.py`` says for each screen what one refresh may send.
2. ``screens/widgets.py``: a ``View`` with ``compose()`` that yields ``TableView("part name", COLUMNS, …)`` or
   ``TextPane("part name")``; each shows the part of that name. ``BINDINGS`` have an ``id`` (``widgets.open``), which
   people remap; Enter is ``open_row(table, row)``. What changes the cluster goes through ``dialogs/``, never from a
   key at once.
3. ``registry.py``: one line. That gives ``:widgets``, the palette's entry, ``klamm ui widgets`` and its completion.
4. ``tests/tui/``: a scripted loader, snapshots at three sizes, and a line in ``test_requests.py``.
"""
