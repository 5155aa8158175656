#!/usr/bin/env python3
"""CartPole-v1 beside other libraries of evolution strategies, on the same cores: the same network (3 x 256, relu), population, pairs and
number of episodes. Their environment is gymnax's, their rollouts are one jitted loop that ends when the last episode of the generation has.

  VENV/bin/python deploy/experiments/control_peers.py PROGRAM [--hyperscalees FOLDER] [--shardes FOLDER]

VENV has evosax, gymnax and distrax of PyPI; the two FOLDERs are checkouts of github.com/ESHyperscale/HyperscaleES and
github.com/andreshernandez-spec/shardes, used as they are. Prints, for each:

- speed: environment steps a second of whole generations (evaluation, shaping, update) whose members all live to 500 steps, compiled
  before; for the others steps that a finished episode makes until the loop ends count as well. Median of --repeats.
- seconds to a mean return of 475 over 100 episodes of the unperturbed policy: the setting of a grid that is first with one seed, then the
  median over --seeds others. Of the others only generations are timed, no compilation and no evaluation; of ours all from the start of training,
  an evaluation of 100 episodes after each generation included."""
import argparse
import functools
import itertools
import json
import pathlib
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

import gymnax
import jax
import jax.numpy as jnp
import optax

STEPS = 500
WIDTH, DEPTH = 256, 3
SOLVED = 475.0
# Settings that are tried: sigma and learning rate of Adam, and of plain descent for who has that alone.
SEARCH = list(itertools.product((0.05, 0.15), (0.01, 0.03, 0.1)))
SEARCH_SGD = list(itertools.product((0.05, 0.15), (0.1, 0.3, 1.0)))
ENVIRONMENT, PARAMS = gymnax.make("CartPole-v1")


def episodes(act, seeds, forever):
    """act: the logits of all rows for their observations. The returns of an episode a row, and the steps that were made of each.
    forever: no episode ends before its last step."""
    observations, states = jax.vmap(ENVIRONMENT.reset_env, in_axes=(0, None))(seeds, PARAMS)

    def some_live(carry):
        return (carry[4] < STEPS) & jnp.any(carry[3])

    def step(carry):
        observations, states, returns, alive, count = carry
        choices = jnp.argmax(act(observations), axis=-1)
        observations, states, rewards, done, *_ = jax.vmap(ENVIRONMENT.step_env, in_axes=(0, 0, 0, None))(seeds, states, choices, PARAMS)
        returns = returns + alive * rewards
        return observations, states, returns, alive & (forever | ~done), count + 1

    rows = seeds.shape[0]
    _, _, returns, _, count = jax.lax.while_loop(
        some_live, step, (observations, states, jnp.zeros(rows), jnp.ones(rows, bool), jnp.int32(0)))
    return returns, count


def perceptron(key):
    sizes = [4] + [WIDTH] * DEPTH + [2]
    return [{"w": jax.random.normal(k, (out, inputs)) / jnp.sqrt(inputs), "b": jnp.zeros(out)}
            for k, inputs, out in zip(jax.random.split(key, DEPTH + 1), sizes, sizes[1:])]


def forward(product, layers, x):
    for layer in layers[:-1]:
        x = jax.nn.relu(product(x, layer["w"]) + layer["b"])
    return product(x, layers[-1]["w"]) + layers[-1]["b"]


def plain(x, w):
    return x @ w.T


class Evosax:
    """Open_ES of evosax: full rank, each member's parameters formed."""

    def __init__(self, population, sigma, rate, forever):
        from evosax.algorithms import Open_ES
        self.es = Open_ES(population, perceptron(jax.random.key(0)), optimizer=optax.adam(rate), std_schedule=lambda _: sigma)
        self.params = self.es.default_params
        self.population = population
        self.forever = forever

    def start(self, key):
        return self.es.init(key, perceptron(key), self.params)

    def generation(self, state, key):
        ask, tell, seeds = jax.random.split(key, 3)
        members, state = self.es.ask(ask, state, self.params)
        returns, count = episodes(lambda x: jax.vmap(functools.partial(forward, plain))(members, x),
                                  jax.random.split(seeds, self.population), self.forever)
        state, _ = self.es.tell(tell, members, -returns, state, self.params)
        return state, count

    def policy(self, state):
        return self.es.get_mean(state)


class HyperscaleES:
    """EggRoll of the official code, r = 1, noise of its own; its MLP."""

    def __init__(self, population, sigma, rate, forever):
        from hyperscalees.models.common import MLP, simple_es_tree_key
        from hyperscalees.noiser.eggroll import EggRoll
        self.noiser, self.model, self.tree_key = EggRoll, MLP, simple_es_tree_key
        self.sigma, self.rate, self.population, self.forever = sigma, rate, population, forever

    def start(self, key):
        self.frozen, params, self.scan, self.roles = self.model.rand_init(
            key, in_dim=4, out_dim=2, hidden_dims=[WIDTH] * DEPTH, use_bias=True, activation="relu", dtype="float32")
        self.keys = self.tree_key(params, jax.random.key(1), self.scan)
        # noise_reuse = 1: new noise each generation.
        self.frozen_noiser, noiser = self.noiser.init_noiser(params, self.sigma, self.rate, solver=optax.adam, rank=1, noise_reuse=1)
        return noiser, params, jnp.int32(0)

    def logits(self, noiser, params, who, x):
        return self.model.forward(self.noiser, self.frozen_noiser, noiser, self.frozen, params, self.keys, who, x)

    def generation(self, state, key):
        noiser, params, number = state
        members = jnp.arange(self.population)
        who = (jnp.full(self.population, number), members)
        returns, count = episodes(
            lambda x: jax.vmap(self.logits, in_axes=(None, None, 0, 0))(noiser, params, who, x),
            jax.random.split(key, self.population), self.forever)
        fitness = self.noiser.convert_fitnesses(self.frozen_noiser, noiser, returns)
        noiser, params = self.noiser.do_updates(self.frozen_noiser, dict(noiser), params, self.keys, fitness, who, self.roles)
        return (noiser, params, number + 1), count

    def policy(self, state):
        params = state[1]
        return [{"w": params[str(n)]["weight"], "b": params[str(n)]["bias"]} for n in range(DEPTH + 1)]


class Shardes:
    """ShardedES, LowRank(1) in pairs. Its step is plain gradient descent."""

    def __init__(self, population, sigma, rate, forever):
        from shardes.core import ShardedES
        from shardes.nn import dense
        from shardes.sharding import make_mesh
        from shardes.strategies.lowrank import LowRank
        from shardes.strategies.mirrored import Mirrored
        self.dense = dense
        self.es = ShardedES(strategy=Mirrored(LowRank(r=1)), n=population, sigma=sigma, lr=rate, mesh=make_mesh(1))
        self.population, self.forever = population, forever

    def start(self, key):
        return self.es.init(key, perceptron(key))

    def generation(self, state, key):
        # A model of one member, which the library maps over the members: its episode's loop is mapped as well.
        def member(layers, seed):
            returns, count = episodes(lambda x: forward(self.dense, layers, x), seed[None], self.forever)
            return jnp.stack([returns[0], count.astype(jnp.float32)])
        perturbation, state = self.es.ask(state)
        found = self.es.apply(member, state, perturbation)(key)
        return self.es.tell(state, perturbation, -found[:, 0]), jnp.max(found[:, 1]).astype(jnp.int32)

    def policy(self, state):
        return state.params


@jax.jit
def mean_return(layers, key):
    returns, _ = episodes(lambda x: forward(plain, layers, x), jax.random.split(key, 100), False)
    return jnp.mean(returns)


def speed_of(kind, population, repeats):
    """Steps a second of a whole generation, each member 500 steps."""
    peer = kind(population, 0.05, 0.01, True)
    state = peer.start(jax.random.key(0))
    generation = jax.jit(peer.generation)
    speeds = []
    for n in range(repeats + 1):
        begin = time.perf_counter()
        state, count = jax.block_until_ready(generation(state, jax.random.key(n)))
        if n:  # The first compiles.
            speeds.append(population * int(count) / (time.perf_counter() - begin))
    return statistics.median(speeds)


def time_to_solve(kind, population, sigma, rate, seed, limit):
    """Seconds of its generations until the policy is as good as asked; infinite where it is not within the limit."""
    peer = kind(population, sigma, rate, False)
    state = peer.start(jax.random.key(seed))
    generation = jax.jit(peer.generation)
    generation.lower(state, jax.random.key(0)).compile()
    jax.block_until_ready(generation(state, jax.random.key(0)))
    spent = 0.0
    for n in itertools.count(1):
        begin = time.perf_counter()
        state, _ = jax.block_until_ready(generation(state, jax.random.key(1000 * seed + n)))
        spent += time.perf_counter() - begin
        if float(mean_return(peer.policy(state), jax.random.key(7))) >= SOLVED:
            return spent
        if spent > limit:
            return float("inf")


def ours(program, population, threads, *more):
    """A run of our program, and what its metrics say."""
    with tempfile.TemporaryDirectory() as folder:
        run = pathlib.Path(folder) / "run"
        command = [program, "train", "--task", "control", "--env", "CartPole-v1", "--activation", "relu", "--run", str(run),
                   "--population", str(population), "--threads", str(threads), *map(str, more)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return shlex.join(command), [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--hyperscalees", type=pathlib.Path, help="checkout of the official code")
    parser.add_argument("--shardes", type=pathlib.Path, help="checkout of shardes")
    parser.add_argument("--population", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2, help="of ours; the others take the cores that the process may use")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=60, help="seconds after which a run has not solved it")
    arguments = parser.parse_args()
    peers = {}
    if arguments.hyperscalees:
        sys.path.insert(0, str(arguments.hyperscalees / "src"))
        peers["HyperscaleES EggRoll, r = 1"] = HyperscaleES
    if arguments.shardes:
        sys.path.insert(0, str(arguments.shardes / "src"))
        peers["shardes LowRank(1), pairs"] = Shardes
    peers["evosax Open_ES, full rank"] = Evosax

    # Long enough for members to live to the end; the generations where they do are counted.
    command, records = ours(arguments.program, arguments.population, arguments.threads, "--generations", 30, "--seed", 1)
    long = [each for each in records if each["episode_steps"] >= 0.98 * STEPS]
    own_speed = statistics.median(each["steps"] / each["generation_s"] for each in long)
    print(command)
    print(f"ours, r = 1: {own_speed:.3g} steps/s ({len(long)} generations)", flush=True)
    speeds = {name: speed_of(kind, arguments.population, arguments.repeats) for name, kind in peers.items()}
    for name, speed in speeds.items():
        print(f"{name}: {speed:.3g} steps/s; ours / this {own_speed / speed:.2f}", flush=True)

    def best(solve, settings):
        """The setting (sigma, learning rate) that solves it first with one seed, and the median of its seconds over all seeds. Who is later
        than the best so far is stopped."""
        chosen, least = settings[0], arguments.limit
        for setting in settings:
            seconds = solve(*setting, 1, least)
            if seconds < least:
                chosen, least = setting, seconds
        return chosen, statistics.median(solve(*chosen, seed, arguments.limit) for seed in range(2, arguments.seeds + 2))

    def solve_ours(sigma, rate, seed, _):
        options = ["--generations", 15, "--sigma", sigma, "--learning-rate", rate, "--seed", seed, "--validate-every", 1]
        _, records = ours(arguments.program, arguments.population, arguments.threads, *options)
        return next((each["elapsed_s"] for each in records if (each.get("return") or 0) >= SOLVED), float("inf"))

    (sigma, rate), own = best(solve_ours, SEARCH)
    print(f"ours, r = 1: solved in {own:.2f} s (sigma {sigma}, learning rate {rate})", flush=True)
    for name, kind in peers.items():
        def solve(sigma, rate, seed, limit):
            return time_to_solve(kind, arguments.population, sigma, rate, seed, limit)
        (sigma, rate), seconds = best(solve, SEARCH if kind is not Shardes else SEARCH_SGD)
        print(f"{name}: solved in {seconds:.2f} s (sigma {sigma}, learning rate {rate}); this / ours {seconds / own:.1f}", flush=True)


if __name__ == "__main__":
    main()
