"""Which document is which job."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from importer.manifests.matching import Finder, Link, Named, Ref, cycle_in, match


def jobs(**by_id):
    return {
        int(key[1:]): {"id": int(key[1:]), "app": app, "name": name} for key, (app, name) in by_id.items()
    }


def named(*found):
    return [Named("f", job_id, app, name) for job_id, app, name in found]


def test_names_go_before_ids():
    there = jobs(j1=("a", "x"), j2=("a", "y"))
    assert match(named((2, "a", "x"), (1, "a", "y")), there).ids == (1, 2)


def test_another_gateways_id_takes_nobody():
    there = jobs(j7=("a", "theirs"))
    found = match(named((7, "a", "mine")), there)
    assert (found.ids, found.renames) == ((None,), ((0, 7),))
    assert match(named((7, "a", "mine")), there, rename=True).ids == (7,)
    assert match(named((7, "b", "mine")), there, rename=True).ids == (None,)


def test_a_rename_takes_nobody_whom_a_document_names():
    there = jobs(j7=("a", "x"))
    assert match(named((7, "a", "y"), (None, "a", "x")), there, rename=True).ids == (None, 7)


def test_several_of_one_name():
    there = jobs(j3=("a", "x"), j5=("a", "x"))
    assert match(named((5, "a", "x"), (3, "a", "x")), there).ids == (5, 3)
    assert match(named((50, "a", "x"), (30, "a", "x")), there).ids == (5, 3)
    assert match(named((50, "a", "x"), (None, "a", "x"), (30, "a", "x")), there).ids == (5, None, 3)
    assert match(named((None, "a", "x")), there).unclear == ((0, (3, 5)),)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz")), max_size=6))
def test_a_gateway_is_its_own_documents(found):
    there = {
        index + 1: {"id": index + 1, "app": app, "name": name} for index, (app, name) in enumerate(found)
    }
    wanted = named(*((job_id, one["app"], one["name"]) for job_id, one in there.items()))
    assert match(wanted, there).ids == tuple(there)
    # Elsewhere the ids are others, in the same order.
    moved = {job_id + 100: {**one, "id": job_id + 100} for job_id, one in there.items()}
    assert match(wanted, moved).ids == tuple(moved)


def test_children():
    there = jobs(j1=("a", "x"), j2=("b", "y"), j3=("a", "twin"), j4=("a", "twin"))
    wanted = named((9, "a", "new"), (2, "a", "x"))
    finder = Finder(wanted, (None, 1), there)
    for ref, expected in (
        (Ref(9, "a", "new", "end"), Link(None, 0, "end")),
        (Ref(9, "a", None, "end"), Link(None, 0, "end")),
        (Ref(None, "a", "x", "end"), Link(1, 1, "end")),
        # By id alone it is the document's, by name the job that is there.
        (Ref(2, "a", None, "end"), Link(1, 1, "end")),
        (Ref(2, "b", "y", "end"), Link(2, None, "end")),
        (Ref(77, "b", "y", "end"), Link(2, None, "end")),
        (Ref(4, "a", "twin", "end"), Link(4, None, "end")),
        (Ref(None, "a", "twin", "end"), None),
        (Ref(77, "a", "nobody", "end"), None),
    ):
        assert finder.find(ref) == expected, ref


def test_cycles():
    assert cycle_in({1: [2, 3], 2: [3], 3: []}) is None
    assert cycle_in({1: [2], 2: [3], 3: [2]}) == [2, 3, 2]
    assert cycle_in({1: [1]}) == [1, 1]
    assert cycle_in({number: [number + 1] for number in range(5000)}) is None
