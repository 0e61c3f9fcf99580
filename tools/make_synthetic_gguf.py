#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a GGUF file with random weights in the real shapes of a Gemma 4 text model.

    make_synthetic_gguf.py --variant e2b --type q4_0 --out e2b-q4_0.gguf
    make_synthetic_gguf.py --variant 26b-a4b --type q4_0 --out 26b-q4_0.gguf
    make_synthetic_gguf.py --variant e2b --type q8_0 --list          (shapes and sizes only)

Needs numpy. The weights are noise with a sane scale (unit-variance activations, so nothing
overflows); a model made so measures speed and memory, not quality. The vocabulary is invented:
262,144 pieces built bottom-up by merges, in the layout of the Gemma family (specials first,
256 byte pieces, then text), so that BPE loaders do the same amount of work as on a real file.
"""
import argparse
import struct
import sys

import numpy as np

F32, F16, Q4_0, Q8_0, Q6_K, BF16 = 0, 1, 2, 8, 14, 30
TYPES = {"f32": F32, "f16": F16, "q4_0": Q4_0, "q8_0": Q8_0, "q6_k": Q6_K, "bf16": BF16}
BLOCK = {F32: (1, 4), F16: (1, 2), BF16: (1, 2), Q4_0: (32, 18), Q8_0: (32, 34), Q6_K: (256, 210)}
FILE_TYPE = {Q4_0: 2, Q8_0: 7, BF16: 32, F16: 1, F32: 0}
ALIGN = 32

# The text stacks, by variant. `period`: every period-th layer attends globally, the rest in a window.
VARIANTS = {
    "e2b": dict(embd=1536, layers=35, period=5, heads=8, kv=1, kv_global=1, ff=6144, ple=256,
                shared=20, wide=True, window=512, ctx=131072, experts=0, v_global=True),
    "e4b": dict(embd=2560, layers=42, period=6, heads=8, kv=2, kv_global=2, ff=10240, ple=256,
                shared=18, wide=False, window=512, ctx=131072, experts=0, v_global=True),
    "26b-a4b": dict(embd=2816, layers=30, period=6, heads=16, kv=8, kv_global=2, ff=2112, ple=0,
                    shared=0, wide=False, window=1024, ctx=262144, experts=128, top=8, ff_exp=704,
                    v_global=False),
    "12b": dict(embd=3840, layers=48, period=6, heads=16, kv=8, kv_global=1, ff=15360, ple=0,
                shared=0, wide=False, window=1024, ctx=262144, experts=0, v_global=False),
    "31b": dict(embd=5376, layers=60, period=6, heads=32, kv=16, kv_global=4, ff=21504, ple=0,
                shared=0, wide=False, window=1024, ctx=262144, experts=0, v_global=False),
    # Small, for tests of the tool chain and for comparing logits: one with per-layer embeddings and
    # shared keys and values, one with experts and without own values in the global layers.
    "tiny-moe": dict(embd=256, layers=6, period=6, heads=4, kv=2, kv_global=1, ff=192, ple=0,
                     shared=0, wide=False, window=64, ctx=4096, experts=16, top=4, ff_exp=96,
                     v_global=False),
    "tiny": dict(embd=256, layers=10, period=5, heads=2, kv=1, kv_global=1, ff=512, ple=32,
                 shared=5, wide=True, window=64, ctx=4096, experts=0, v_global=True),
}
HEAD, HEAD_GLOBAL, VOCAB = 256, 512, 262144


def nbytes(kind, shape):
    per, size = BLOCK[kind]
    assert shape[0] % per == 0, (kind, shape)
    n = 1
    for d in shape:
        n *= d
    return n // per * size


def tensors(v, kind, embd_kind, ple_kind):
    """Yields (name, shape with the contiguous dimension first, type, fill)."""
    E, L, V = v["embd"], v["layers"], VOCAB
    yield "token_embd.weight", (E, V), embd_kind, "mat"
    if v["ple"]:
        yield "per_layer_token_embd.weight", (v["ple"] * L, V), ple_kind, "mat"
        yield "per_layer_model_proj.weight", (E, v["ple"] * L), BF16, "mat"
        yield "per_layer_proj_norm.weight", (v["ple"],), F32, "one"
    yield "output_norm.weight", (E,), F32, "one"
    yield "rope_freqs.weight", (HEAD_GLOBAL // 2,), F32, "rope"
    for i in range(L):
        b = f"blk.{i}."
        glob = (i + 1) % v["period"] == 0
        hd = HEAD_GLOBAL if glob else HEAD
        kv = v["kv_global"] if glob else v["kv"]
        q = hd * v["heads"]
        own_kv = i < L - v["shared"]
        yield b + "attn_norm.weight", (E,), F32, "one"
        yield b + "attn_q.weight", (E, q), kind, "mat"
        if own_kv:
            yield b + "attn_k.weight", (E, hd * kv), kind, "mat"
            if v["v_global"] or not glob:
                yield b + "attn_v.weight", (E, hd * kv), kind, "mat"
            yield b + "attn_k_norm.weight", (hd,), F32, "one"
        yield b + "attn_q_norm.weight", (hd,), F32, "one"
        yield b + "attn_output.weight", (q, E), kind, "mat"
        yield b + "post_attention_norm.weight", (E,), F32, "small"
        yield b + "layer_output_scale.weight", (1,), F32, "one"
        ff = v["ff"] * (2 if v["wide"] and not own_kv else 1)
        yield b + "ffn_norm.weight", (E,), F32, "one"
        yield b + "ffn_gate.weight", (E, ff), kind, "mat"
        yield b + "ffn_up.weight", (E, ff), kind, "mat"
        yield b + "ffn_down.weight", (ff, E), kind, "mat"
        yield b + "post_ffw_norm.weight", (E,), F32, "small"
        if v["experts"]:
            X, fx = v["experts"], v["ff_exp"]
            yield b + "ffn_gate_inp.weight", (E, X), F32, "unit"
            yield b + "ffn_gate_inp.scale", (E,), F32, "one"
            yield b + "pre_ffw_norm_2.weight", (E,), F32, "one"
            yield b + "post_ffw_norm_1.weight", (E,), F32, "one"
            yield b + "post_ffw_norm_2.weight", (E,), F32, "one"
            yield b + "ffn_gate_up_exps.weight", (E, 2 * fx, X), kind, "mat"
            yield b + "ffn_down_exps.weight", (fx, E, X), kind, "mat"
            yield b + "ffn_down_exps.scale", (X,), F32, "one"
        if v["ple"]:
            yield b + "inp_gate.weight", (E, v["ple"]), kind, "mat"
            yield b + "proj.weight", (v["ple"], E), kind, "mat"
            yield b + "post_norm.weight", (E,), F32, "small"


class Noise:
    """A pool of random blocks per (type, scale), from which tensors are cut at random offsets."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.bits = self.rng.integers(0, 256, 48 << 20, dtype=np.uint8)

    def blocks(self, kind, fan_in):
        per, size = BLOCK[kind]
        n = len(self.bits) // size
        pool = self.bits[: n * size].copy()
        sigma = fan_in ** -0.5
        if kind in (Q4_0, Q8_0):
            rows = pool.reshape(n, size)
            spread = 4.18 if kind == Q4_0 else 73.6  # deviation of the uniform codes
            d = (sigma / spread * self.rng.uniform(0.7, 1.3, n)).astype(np.float16)
            codes = rows[:, 2:]  # the lowest code has no counterpart: use zero for it, so that the mean is 0
            if kind == Q8_0:
                codes[codes == 128] = 0
            else:
                codes[codes & 15 == 0] += 8
                codes[codes >> 4 == 0] += 128
            rows[:, 0:2] = d.view(np.uint8).reshape(n, 2)
        elif kind == Q6_K:  # low bits, high bits, 16 signed scales, then the fp16 scale
            rows = pool.reshape(n, size)
            d = (sigma / (18.5 * 73.9) * self.rng.uniform(0.7, 1.3, n)).astype(np.float16)
            rows[:, 208:210] = d.view(np.uint8).reshape(n, 2)
        else:
            x = (self.rng.standard_normal(n) * sigma).astype(np.float32)
            if kind == BF16:
                pool = (x.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
            elif kind == F16:
                pool = x.astype(np.float16).view(np.uint8)
            else:
                pool = x.view(np.uint8)
        return pool, size

    def write(self, f, kind, shape, cache):
        key = (kind, shape[0])
        if key not in cache:
            cache.clear()
            cache[key] = self.blocks(*key)
        pool, size = cache[key]
        n, left = len(pool) // size, nbytes(kind, shape)
        while left:
            start = int(self.rng.integers(0, n // 2))
            part = pool[start * size : min(n * size, start * size + left)]
            f.write(part.data)
            left -= len(part)


def small_tensor(rng, shape, fill):
    n = int(np.prod(shape))
    if fill == "rope":  # a quarter of the head rotates; the rest is held still
        x = np.full(n, 1e30)
        x[: n // 4] = 1.0
    elif fill == "unit":
        x = rng.standard_normal(n)
    else:
        x = (0.2 if fill == "small" else 1.0) * (1 + 0.05 * rng.standard_normal(n))
    return x.astype(np.float32)


CONTROL = {0: "<pad>", 1: "<eos>", 2: "<bos>", 3: "<unk>", 4: "<mask>", 46: "<|tool>", 47: "<tool|>", 48: "<|tool_call>",
           49: "<tool_call|>", 50: "<|tool_response>", 51: "<tool_response|>", 52: '<|"|>', 98: "<|think|>",
           100: "<|channel>", 101: "<channel|>", 105: "<|turn>", 106: "<turn|>", 255999: "<|image>", 256000: "<|audio>",
           258880: "<|image|>", 258881: "<|audio|>", 258882: "<image|>", 258883: "<audio|>", 258884: "<|video|>"}
USER_DEFINED = (48, 49, 50, 51, 52, 100, 101)


def layout():
    """The ids that Gemma 4's vocabulary fixes: {id: (piece, kind)}; the rest is invented text."""
    at = {i: (piece, 4 if i in USER_DEFINED else 3) for i, piece in CONTROL.items()}
    at[5] = ("[multimodal]", 1)
    at.update({106 + n: ("\n" * n, 1) for n in range(1, 32)})
    at.update({136 + n: ("\u2581" * n, 1) for n in range(2, 32)})
    at.update({168 + n: (f"<tag{n}>", 1) for n in range(70)})
    at.update({238 + n: (f"<0x{n:02X}>", 6) for n in range(256)})
    at.update({255967 + n: ("\t" * n, 1) for n in range(1, 32)})
    unused = [i for i in (*range(238), *range(256001, VOCAB)) if i not in at]
    at.update({i: (f"<unused{n}>", 1) for n, i in enumerate(unused)})
    return at


def vocabulary(seed):
    """Pieces, their kinds and the merges that build them, in the id layout of Gemma 4."""
    rng = np.random.default_rng(seed)
    fixed = layout()
    pieces = [piece for piece, _ in fixed.values()]
    known = set(pieces)
    letters = ["\u2581"] + [chr(c) for c in range(33, 127)]
    letters += [chr(c) for c in range(0xA1, 0x180)] + [chr(c) for c in range(0x391, 0x450) if chr(c).isprintable()]
    letters += [chr(c) for c in range(0x4E00, 0x4E00 + 6000)]
    letters = [c for c in letters if c not in known]
    # Frequent letters first, so that most merges are of Latin text.
    pool, merges = list(letters), []
    for c in "\n\u2581\t":  # runs are built from shorter runs
        merges += [f"{c * k} {c * (n - k)}" for n in range(2, 32) for k in range(1, n)]
    core = ["\u2581"] + [chr(c) for c in range(97, 123)]
    grown = list(core)
    room = VOCAB - len(pieces) - len(letters)
    made = set(known) | set(letters)
    words = []
    while len(words) < room:
        a = grown[int(len(grown) * rng.random() ** 2)]
        b = grown[int(len(grown) * rng.random() ** 2)] if rng.random() < 0.9 else letters[int(len(letters) * rng.random())]
        w = a + b
        if len(w) > 14 or w in made or "\u2581" in w[1:]:
            continue
        made.add(w)
        words.append(w)
        grown.append(w)
        merges.append(f"{a} {b}")
        # A SentencePiece vocabulary turned to BPE lists every split into known pieces.
        for cut in range(1, len(w)):
            l, r = w[:cut], w[cut:]
            if l != a and l in made and r in made:
                merges.append(f"{l} {r}")
    free = iter(words + pool)  # single characters last, as in the real file
    pieces, kinds = zip(*(fixed[i] if i in fixed else (next(free), 1) for i in range(VOCAB)))
    assert next(free, None) is None and len(set(pieces)) == VOCAB, len(set(pieces))
    return pieces, kinds, merges


U32, I32, FLT, BOOL, STR, ARR = 4, 5, 6, 7, 8, 9


def text(s):
    b = s.encode()
    return struct.pack("<Q", len(b)) + b


def scalar(t, x):
    if t == STR:
        return text(x)
    return struct.pack({U32: "<I", I32: "<i", FLT: "<f", BOOL: "<?"}[t], x)


def pair(key, t, x, each=None):
    if t == ARR:
        return text(key) + struct.pack("<IIQ", ARR, each, len(x)) + b"".join(scalar(each, y) for y in x)
    return text(key) + struct.pack("<I", t) + scalar(t, x)


def metadata(name, v, kind, seed):
    L = v["layers"]
    swa = [(i + 1) % v["period"] != 0 for i in range(L)]
    a = "gemma4."
    kv = [
        pair("general.architecture", STR, "gemma4"),
        pair("general.name", STR, f"random-{name}"),
        pair("general.file_type", U32, FILE_TYPE[kind]),
        pair("general.quantization_version", U32, 2),
        pair(a + "context_length", U32, v["ctx"]),
        pair(a + "embedding_length", U32, v["embd"]),
        pair(a + "block_count", U32, L),
        pair(a + "attention.head_count", U32, v["heads"]),
        pair(a + "attention.head_count_kv", ARR, [v["kv"] if s else v["kv_global"] for s in swa], I32),
        pair(a + "attention.layer_norm_rms_epsilon", FLT, 1e-6),
        pair(a + "attention.key_length", U32, HEAD_GLOBAL),
        pair(a + "attention.value_length", U32, HEAD_GLOBAL),
        pair(a + "attention.key_length_swa", U32, HEAD),
        pair(a + "attention.value_length_swa", U32, HEAD),
        pair(a + "attention.sliding_window", U32, v["window"]),
        pair(a + "attention.sliding_window_pattern", ARR, swa, BOOL),
        pair(a + "attention.shared_kv_layers", U32, v["shared"]),
        pair(a + "embedding_length_per_layer_input", U32, v["ple"]),
        pair(a + "rope.freq_base", FLT, 1e6),
        pair(a + "rope.freq_base_swa", FLT, 1e4),
        pair(a + "rope.dimension_count", U32, HEAD_GLOBAL),
        pair(a + "rope.dimension_count_swa", U32, HEAD),
        pair(a + "final_logit_softcapping", FLT, 30.0),
    ]
    if v["wide"]:
        kv.append(pair(a + "feed_forward_length", ARR,
                       [v["ff"] * (2 if i >= L - v["shared"] else 1) for i in range(L)], I32))
    else:
        kv.append(pair(a + "feed_forward_length", U32, v["ff"]))
    if v["experts"]:
        kv += [pair(a + "expert_count", U32, v["experts"]),
               pair(a + "expert_used_count", U32, v["top"]),
               pair(a + "expert_feed_forward_length", U32, v["ff_exp"])]
    pieces, kinds, merges = vocabulary(seed)
    t = "tokenizer.ggml."
    kv += [
        pair(t + "model", STR, "gemma4"),
        pair(t + "tokens", ARR, pieces, STR),
        pair(t + "scores", ARR, [-float(i) for i in range(len(pieces))], FLT),
        pair(t + "token_type", ARR, kinds, I32),
        pair(t + "merges", ARR, merges, STR),
        pair(t + "bos_token_id", U32, 2),
        pair(t + "eos_token_id", U32, 1),
        pair(t + "unknown_token_id", U32, 3),
        pair(t + "padding_token_id", U32, 0),
        pair(t + "add_bos_token", BOOL, True),
        pair(t + "add_space_prefix", BOOL, False),
    ]
    print(f"vocabulary: {len(pieces)} pieces, {len(merges)} merges", file=sys.stderr)
    return kv


def up(n):
    return -n % ALIGN


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--variant", choices=VARIANTS, required=True)
    p.add_argument("--type", choices=("q4_0", "q8_0", "bf16", "f16", "f32"), default="q4_0")
    p.add_argument("--embd-type", choices=("q4_0", "q8_0", "q6_k", "bf16", "f16", "f32"), help="token_embd (default: --type)")
    p.add_argument("--ple-type", choices=("q4_0", "q8_0", "q6_k", "bf16", "f16", "f32"), help="per_layer_token_embd (default: --type)")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--out")
    p.add_argument("--list", action="store_true")
    o = p.parse_args()
    v, kind = VARIANTS[o.variant], TYPES[o.type]
    plan = list(tensors(v, kind, TYPES[o.embd_type or o.type], TYPES[o.ple_type or o.type]))
    total = sum(nbytes(k, s) for _, s, k, _ in plan)
    if o.list:
        for n, s, k, _ in plan:
            print(f"{n:40} {str(s):24} {k:3} {nbytes(k, s):14,}")
        print(f"total {total:,} bytes, {sum(int(np.prod(s)) for _, s, _, _ in plan):,} weights")
        return
    head, at = [], 0
    for n, s, k, _ in plan:
        head.append(text(n) + struct.pack("<I", len(s)) + struct.pack(f"<{len(s)}Q", *s) + struct.pack("<IQ", k, at))
        at += nbytes(k, s)
        at += up(at)
    kv = metadata(o.variant, v, kind, o.seed)
    noise, cache = Noise(o.seed), {}
    with open(o.out, "wb") as f:
        f.write(b"GGUF" + struct.pack("<IQQ", 3, len(plan), len(kv)))
        f.write(b"".join(kv))
        f.write(b"".join(head))
        f.write(b"\0" * up(f.tell()))
        for n, s, k, fill in plan:
            if fill == "mat":
                noise.write(f, k, s, cache)
            else:
                f.write(small_tensor(noise.rng, s, fill).tobytes())
            f.write(b"\0" * up(f.tell()))
    print(f"{o.out}: {total:,} bytes of weights", file=sys.stderr)


if __name__ == "__main__":
    main()
