"""Link hooks and function hooks."""
import io
import re

import numpy as np
import pytest

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import function_hooks, link_hooks


def floats(*shape):
    return np.random.randn(*shape).astype("f")


class Note(hnn.LinkHook):
    name = "note"

    def __init__(self):
        self.events = []

    def added(self, link):
        self.events.append(("added", link))

    def deleted(self, link):
        self.events.append(("deleted", link))

    def forward_preprocess(self, args):
        self.events.append(("before", args.link, args.forward_name, args.args, args.kwargs))

    def forward_postprocess(self, args):
        self.events.append(("after", args.link, args.out))

    def forward_failed(self, args):
        self.events.append(("failed", args.link))


class TestLinkHooks:
    def test_on_one_link(self):
        link, hook, x = L.Linear(3, 2), Note(), floats(2, 3)
        assert link.add_hook(hook) is link and link.local_link_hooks == {"note": hook}
        y = link(x, n_batch_axes=1)
        L.Linear(3, 2)(x)
        link.delete_hook("note")
        link(x)
        assert [e[0] for e in hook.events] == ["added", "before", "after", "deleted"] and hook.events[0][1] is link
        assert hook.events[1][2:] == ("forward", (x,), {"n_batch_axes": 1}) and hook.events[2][2] is y
        assert link._local_link_hooks is None

    def test_on_all_links_of_a_block(self):
        inner = L.Linear(3, 2)
        outer = hnn.Sequential(inner)
        with Note() as hook:
            outer(floats(2, 3))
            assert hnn.get_link_hooks() == hnn._get_link_hooks() == {"note": hook}
        outer(floats(2, 3))
        assert [(e[0], e[1]) for e in hook.events] == [("added", None), ("before", outer), ("before", inner), ("after", inner),
                                                       ("after", outer), ("deleted", None)]

    def test_names_are_taken_once(self):
        link = L.Linear(3, 2).add_hook(Note())
        with pytest.raises(KeyError, match="'note'"):
            link.add_hook(Note())
        link.add_hook(Note(), name="second")
        with pytest.raises(KeyError, match="no hook called 'third'"):
            link.delete_hook("third")
        with pytest.raises(KeyError, match="'note'"), Note(), Note():
            pass
        with pytest.raises(TypeError, match="LinkHook"):
            link.add_hook(function_hooks.TimerHook())
        with pytest.raises(TypeError, match="takes a FunctionHook; got TimerHook"):
            hnn.FunctionNode().add_hook(link_hooks.TimerHook())

    def test_a_failed_call(self):
        hook = Note()
        link = L.Linear(3, 2).add_hook(hook)
        with pytest.raises(TypeError):
            link(floats(2, 4))
        assert [e[0] for e in hook.events] == ["added", "before", "failed"]

    def test_copies_have_their_own(self):
        link = L.Linear(3, 2).add_hook(Note())
        shared = link.copy()
        shared.delete_hook("note")
        assert list(link.local_link_hooks) == ["note"]


class TestTimers:
    @pytest.mark.parametrize("unit", ["auto", "auto_foreach", "sec", "ms", "us", "ns"])
    def test_links(self, unit):
        model = hnn.Sequential(L.Linear(3, 3), L.Linear(3, 3))
        with link_hooks.TimerHook() as hook:
            model(floats(2, 3))
        assert [name for name, _ in hook.call_history] == ["Linear", "Linear", "Sequential"]
        summary = hook.summary()
        assert summary["Linear"]["occurrence"] == 2 and summary["Linear"]["elapsed_time"] <= summary["Sequential"]["elapsed_time"]
        assert hook.total_time() == summary["Sequential"]["elapsed_time"]
        out = io.StringIO()
        hook.print_report(unit, out)
        head, *rows = out.getvalue().splitlines()
        assert head.split() == ["LinkName", "ElapsedTime", "Occurrence"] and [r.split()[0] for r in rows] == ["Linear",
                                                                                                              "Sequential"]
        assert len(set(map(len, [head, *rows]))) == 1 and (unit not in ("sec", "ms", "us", "ns")
                                                           or rows[0].split()[1].endswith(unit))

    def test_functions(self, capsys):
        with function_hooks.TimerHook() as hook:
            F.exp(floats(3)) + F.exp(floats(3))
        assert [name for name, _ in hook.call_history] == ["Exp", "Exp", "Add"] and hook.total_time() > 0
        hook.print_report()
        assert "FunctionName" in capsys.readouterr().out
        with pytest.raises(ValueError, match="'auto_foreach'"):
            hook.print_report("hours")
        assert link_hooks.TimerHook.table == hook.table == {"sec": 1, "ms": 1000, "us": 1000000, "ns": 1000000000}

    def test_a_failed_call_does_not_run_on(self):
        with link_hooks.TimerHook() as hook:
            with pytest.raises(TypeError):
                L.Linear(3, 2)(floats(2, 4))
            L.Linear(3, 2)(floats(2, 3))
        assert len(hook.call_history) == 2 and hook.total_time() == pytest.approx(sum(s for _, s in hook.call_history))

    def test_nothing_called(self):
        out = io.StringIO()
        link_hooks.TimerHook().print_report(file=out)
        assert out.getvalue().split() == ["LinkName", "ElapsedTime", "Occurrence"]


class TestFunctionHooks:
    def test_calls(self):
        class Note(hnn.FunctionHook):
            name = "note"
            events = []

            def forward_preprocess(self, function, in_data):
                self.events.append(("before", function.label, len(in_data)))

            def forward_postprocess(self, function, in_data):
                self.events.append(("after", function.label, len(in_data)))
        with Note() as hook:
            assert hnn.get_function_hooks() == {"note": hook}
            F.tanh(floats(3))
            with pytest.raises(KeyError, match="'note'"), Note():
                pass
        F.tanh(floats(3))
        assert hook.events == [("before", "Tanh", 1), ("after", "Tanh", 1)]

    def test_printing(self, capsys):
        def text(values, shape, grad="None"):
            return [r"<variable at 0x[0-9a-f]+>", "- device: CPU", "- backend: <class 'numpy.ndarray'>", rf"- shape: {re.escape(str(shape))}",
                    "- dtype: float32", f"- statistics: {values}", f"- grad: {grad}"]

        def check(want):
            lines = capsys.readouterr().out.splitlines()[:len(want)]
            assert all(re.fullmatch(w, line) for w, line in zip(want, lines, strict=True)), lines

        x = hnn.Variable(np.array([1, 2, 3], "f"))
        with function_hooks.PrintHook():
            y = F.exp(x)
        check(["function\texp", "input data", *text(r"mean=2\.0+, std=0\.81649\d+", (3,))])
        y.grad = np.array([1, 1, np.inf], "f")
        with function_hooks.PrintHook():
            y.backward()
        check(["function\texp", "input data", r"\(removed\)", "output gradient", *text(r"mean=0\.0+, std=0\.0+", (3,), "mean=inf, std=nan"),
               "- not finite: 1 of 3"])
        with function_hooks.PrintHook():
            F.exp(np.array([1, np.nan, np.inf], "f"))
        check(["function\texp", "input data", *text("mean=nan, std=nan", (3,)), "- not finite: 2 of 3"])

    def test_printing_to_a_file(self):
        out = io.StringIO()
        with function_hooks.PrintHook(file=out, end=";", flush=False):
            hnn.Variable(np.array([], "f")) * 2
        assert re.fullmatch(r"function\t_ \* 2;input data;<variable[^;]*- statistics: empty\n- grad: None;", out.getvalue())

    def test_hooks_are_shown_arrays_only(self):
        class Note(hnn.FunctionHook):
            name = "note"

            def __init__(self):
                self.forward, self.back = [], []

            def forward_preprocess(self, function, in_data):
                self.forward.append((function.label, [x.shape for x in in_data]))

            def backward_preprocess(self, function, in_data, out_grad):
                self.back.append((function.label, [None if x is None else x.shape for x in in_data]))

            forward_postprocess, backward_postprocess = forward_preprocess, backward_preprocess

        x = hnn.Variable(floats(3))
        for compute, label, kept in [(lambda: 2 * x, "_ * 2", None), (lambda: x + np.float32(1), "_ + 1.0", None), (lambda: 3 - x, "3 - _", None),
                                     (lambda: x ** 3, "_ ** 3", (3,)), (lambda: F.clip(x, 0., 1.), "Clip", (3,))]:
            with Note() as hook:
                y = compute()
                y.grad = floats(3)
                y.backward()
            assert hook.forward[:2] == [(label, [(3,)])] * 2 and y.creator.label == label
            assert hook.back == [(label, [kept])] * 2


class TestSpectralNormalization:
    @pytest.mark.parametrize("make, shape", [(lambda: L.Linear(4, 3), (2, 4)), (lambda: L.Convolution2D(3, 4, 3), (2, 3, 4, 4)),
                                             (lambda: L.Deconvolution2D(3, 4, 3), (2, 3, 4, 4)),
                                             (lambda: L.Linear(None, 3), (2, 4)),
                                             (lambda: L.Convolution1D(None, 4, 3), (2, 3, 4))])
    @pytest.mark.parametrize("factor", [None, 2.])
    def test_the_largest_singular_value_is_one(self, make, shape, factor):
        link = make()
        link.add_hook(link_hooks.SpectralNormalization(factor=factor))
        seen = []
        link.forward = lambda x: seen.append(link.W)
        for _ in range(60):
            link(floats(*shape))
        W = np.moveaxis(seen[-1].array, 1 if "Deconv" in type(link).__name__ else 0, 0)
        assert np.linalg.svd(W.reshape(len(W), -1), compute_uv=False)[0] == pytest.approx(factor or 1, rel=1e-3)
        assert isinstance(link.W, hnn.Parameter) and link.W is not seen[-1]

    def test_the_vector_is_saved_and_moves_while_training_only(self):
        link = L.Linear(4, 3).add_hook(link_hooks.SpectralNormalization())
        u = link.W_u
        before = u.copy()
        with hnn.using_config("train", False):
            link(floats(2, 4))
        np.testing.assert_array_equal(u, before)
        link(floats(2, 4))
        assert link.W_u is u and not np.array_equal(u, before) and "W_u" in link._persistent
        link.delete_hook("SpectralNormalization")
        assert not hasattr(link, "W_u") and link._persistent == set()

    def test_recomputation_uses_the_same_vectors(self):
        hook = link_hooks.SpectralNormalization()
        link = L.Linear(4, 3).add_hook(hook)
        assert hook.v is None
        x = floats(2, 4)
        first = link(x).array
        u, v = link.W_u.copy(), hook.v.copy()
        assert v.shape == (4,) and np.linalg.norm(v) == pytest.approx(1, rel=1e-5)
        with hnn.using_config("in_recomputing", True):
            np.testing.assert_array_equal(link(x).array, first)
        np.testing.assert_array_equal(link.W_u, u)
        np.testing.assert_array_equal(hook.v, v)

    def test_gamma_is_learned(self):
        link = L.Linear(4, 3).add_hook(link_hooks.SpectralNormalization(use_gamma=True))
        assert link.gamma.array == pytest.approx(np.linalg.svd(link.W.array)[1][0], rel=1e-5)
        link.cleargrads()
        F.sum(link(floats(2, 4))).backward()
        assert link.gamma.grad is not None and link.W.grad is not None
        link.delete_hook("SpectralNormalization")
        assert link._params == {"W", "b"}

    def test_misuse(self):
        with pytest.raises(ValueError, match="power iteration"):
            link_hooks.SpectralNormalization(0)
        with pytest.raises(ValueError, match="no weight 'V'"):
            L.Linear(2, 2).add_hook(link_hooks.SpectralNormalization(weight_name="V"))
        with pytest.raises(NotImplementedError, match="add_hook"), link_hooks.SpectralNormalization():
            pass
        with pytest.raises(ValueError, match="outputs along axis 0"):
            L.Linear(2, 0).add_hook(link_hooks.SpectralNormalization())

    def test_the_weight_comes_back_after_a_failure(self):
        link = L.Linear(4, 3).add_hook(link_hooks.SpectralNormalization())
        W = link.W
        with pytest.raises(TypeError):
            link(floats(2, 5))
        assert link.W is W


class TestWeightStandardization:
    @pytest.mark.parametrize("make, shape", [(lambda: L.Linear(8, 3), (2, 8)),
                                             (lambda: L.Convolution2D(None, 4, 3), (2, 3, 4, 4))])
    def test_rows_have_mean_zero_and_variance_one(self, make, shape):
        link = make().add_hook(link_hooks.WeightStandardization())
        seen, forward = [], link.forward
        link.forward = lambda x: seen.append(link.W) or forward(x)
        link.cleargrads()
        F.sum(link(floats(*shape))).backward()
        rows = seen[0].array.reshape(seen[0].shape[0], -1)
        np.testing.assert_allclose(rows.mean(axis=1), 0, atol=1e-5)
        np.testing.assert_allclose(rows.var(axis=1), 1, atol=2e-3)
        assert isinstance(link.W, hnn.Parameter) and link.W.grad is not None
        with pytest.raises(NotImplementedError, match="add_hook"), link_hooks.WeightStandardization():
            pass
