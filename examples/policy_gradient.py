"""An agent that learns to catch: REINFORCE (Williams 1992) on a tiny game that is written here.

A ball falls through a field of 7 x 7 places, drifting sideways; a paddle on the ground moves left, stays or moves right. Many
games are played side by side. The policy is asked at every move (one traced function), and learns after the game (another one).
"""
import sys

import numpy as np
from helper import Result, compare, conclude, options, training

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L

SIZE = 7


class Catch:
    """``n`` games side by side, with a random stream of their own."""

    def __init__(self, n, rng):
        self.n, self.rng = n, rng
        self.ball, self.paddle = rng.randint(0, SIZE, n), rng.randint(0, SIZE, n)
        self.drift, self.row = rng.randint(-1, 2, n), 0

    def see(self):
        """(n, 3 * SIZE + 1): places of ball and paddle and the drift as bits, and how far the ball has fallen."""
        places = np.zeros((3, self.n, SIZE), "f")
        for layer, where in zip(places, (self.ball, self.paddle, self.drift + 1)):
            layer[np.arange(self.n), where] = 1
        return np.concatenate([*places, np.full((self.n, 1), self.row / SIZE, "f")], axis=1)

    def move(self, actions):
        """Move the paddles by -1, 0 or 1; the ball falls one row and bounces off the walls."""
        self.paddle = np.clip(self.paddle + actions - 1, 0, SIZE - 1)
        following = self.ball + self.drift
        self.drift = np.where((following < 0) | (following >= SIZE), -self.drift, self.drift)
        self.ball = self.ball + self.drift
        self.row += 1

    def rewards(self):
        return (self.ball == self.paddle).astype("f")


def play(n, rng, act):
    """Play to the end; what was seen, what was done (moves * n rows each), and who caught the ball."""
    game, seen, done = Catch(n, rng), [], []
    for _ in range(SIZE - 1):
        seen.append(game.see())
        done.append(act(seen[-1]))
        game.move(done[-1])
    return np.concatenate(seen), np.concatenate(done), game.rewards()


def draw(p, rng):
    """One column per row of the probabilities ``p``."""
    return (p.cumsum(1) > rng.rand(len(p), 1)).argmax(1).astype("i")


def train(args, trace):
    net = hnn.Sequential(L.Linear(3 * SIZE + 1, args.hidden), F.tanh, L.Linear(args.hidden, 3))
    optimizer = hnn.optimizers.Adam(0.01).setup(net)
    rng = np.random.RandomState(args.seed)

    @trace
    def probabilities(x):
        return F.softmax(net(x))

    @trace
    def learn(x, actions, advantage):
        log_p = F.log_softmax(net(x))
        entropy = -F.mean(F.sum(F.exp(log_p) * log_p, axis=1))
        loss = -F.mean(F.select_item(log_p, actions) * advantage) - 0.01 * entropy
        net.cleargrads()
        loss.backward()
        optimizer.update()
        return loss

    def act(x):
        with hnn.no_backprop_mode():
            return draw(probabilities(x).array, rng)

    with training("REINFORCE", args.games) as run:
        for _ in range(args.games):
            seen, done, rewards = play(args.batch, rng, act)
            advantage = np.tile((rewards - rewards.mean()) / (rewards.std() + 1e-6), SIZE - 1)
            run(learn, seen, done, advantage.astype("f"))
    return Result(float(play(2000, np.random.RandomState(99), act)[2].mean()), run, learn)


def main(argv=None):
    args = options(__doc__, games=300, batch=64, hidden=64).parse_args(argv)
    rng = np.random.RandomState(99)
    chance = float(play(2000, rng, lambda x: rng.randint(0, 3, len(x)))[2].mean())
    results = compare(train, args)
    return conclude("balls caught", ("random moves", chance), results, lambda ours, theirs: ours > 2 * theirs, "{:.1%}")


if __name__ == "__main__":
    sys.exit(main())
