// SPDX-License-Identifier: Apache-2.0
// The fast set, written once over a vector of 16 floats. An ISA file defines `Vec` and the
// functions below inside its unnamed namespace, then includes this there. Every sum runs in lanes
// that depend on the length of the row alone. Only IEEE operations are used, so instruction sets
// with a fused multiply-add agree with each other bit for bit.
//
//   Load Store            16 floats; with a `First{n}` the first n only, loading 0 for the others
//   LoadHalf StoreHalf    16 IEEE halves, rounded to nearest even; LoadHalf also with `First`
//   Set                   one float in all lanes
//   Add Sub Mul Div       lane by lane
//   Min Max               the second argument where the first is NaN
//   Fma(a, b, c)          a b + c
//   NegFma(a, b, c)       c - a b
//   Abs, CopySign(a, b)   |a|; |a| with the sign of b
//   IfLess(a, b, x, y)    a < b ? x : y
//   PowerOfTwo(t)         2^n where t = 1.5 * 2^23 + n, -127 < n < 128
//   ReduceAdd ReduceMax   over the lanes; sums pair lanes 8 apart, then 4, 2, 1
//   kAllRows, kManyRows   see attention.inl.h

struct ExpParts {
  Vec scale;  // 2^n
  Vec m1;     // e^r - 1
};

// x = n ln 2 + r with |r| <= ln 2 / 2, so e^x = scale (1 + m1). The Taylor series up to r^7 is
// within 2e-8 of m1, relatively. Meaningless outside -87 .. 88.
inline ExpParts SplitExp(Vec x) {
  const Vec magic = Set(12582912.0f);  // 1.5 * 2^23: adding it leaves n in the low bits
  const Vec t = Fma(x, Set(1.44269504f), magic);
  const Vec n = Sub(t, magic);
  // ln 2 in two parts; n times the first is exact.
  Vec r = NegFma(n, Set(0.693359375f), x);
  r = NegFma(n, Set(-2.12194440e-4f), r);
  Vec q = Set(1.0f / 5040);
  q = Fma(q, r, Set(1.0f / 720));
  q = Fma(q, r, Set(1.0f / 120));
  q = Fma(q, r, Set(1.0f / 24));
  q = Fma(q, r, Set(1.0f / 6));
  q = Fma(q, r, Set(0.5f));
  return {PowerOfTwo(t), Fma(Mul(r, r), q, r)};
}

// Below this e^x counts as 0. With it a non-zero weight times a non-zero half never underflows, so
// adding positions of weight zero to a sum cannot even change the sign of a zero.
constexpr float kExpFloor = -69.0f;

// e^x for x <= 88; -infinity gives 0.
inline Vec ExpUpTo88(Vec x) {
  const ExpParts e = SplitExp(x);
  return IfLess(x, Set(kExpFloor), Set(0.0f), Fma(e.scale, e.m1, e.scale));
}

inline Vec Exp(Vec x) {
  return IfLess(Set(88.0f), x, Set(__builtin_inff()), ExpUpTo88(x));
}

// With e = e^(-2|x|) - 1, free of cancellation: tanh |x| = -e / (e + 2).
inline Vec Tanh(Vec x) {
  const ExpParts p = SplitExp(Max(Mul(Abs(x), Set(-2.0f)), Set(kExpFloor)));
  const Vec e = Fma(p.scale, p.m1, Sub(p.scale, Set(1.0f)));
  return CopySign(Div(e, Add(e, Set(2.0f))), x);
}

constexpr int kVec = 16;

struct All {};

inline Vec Load(const float* p, All) { return Load(p); }
inline void Store(float* p, Vec v, All) { Store(p, v); }
inline Vec LoadHalf(const uint16_t* p, All) { return LoadHalf(p); }

// Calls f(i, All{}) for every full vector of n elements and f(i, First{rest}) for what is left.
template <class F>
inline void ForVectors(int64_t n, F f) {
  int64_t i = 0;
  for (; i + kVec <= n; i += kVec) f(i, All{});
  if (i < n) f(i, First{static_cast<int>(n - i)});
}

// Four accumulators take the full vectors in turn.
float SumOfSquares(const float* x, int64_t n) {
  Vec a[4] = {Set(0.0f), Set(0.0f), Set(0.0f), Set(0.0f)};
  int64_t i = 0;
  for (; i + 4 * kVec <= n; i += 4 * kVec) {
    for (int j = 0; j < 4; ++j) {
      const Vec v = Load(x + i + j * kVec);
      a[j] = Fma(v, v, a[j]);
    }
  }
  ForVectors(n - i, [&](int64_t k, auto lanes) {
    const Vec v = Load(x + i + k, lanes);
    a[0] = Fma(v, v, a[0]);
  });
  return ReduceAdd(Add(Add(a[0], a[1]), Add(a[2], a[3])));
}

float InverseRms(const float* x, int64_t n, float eps) {
  return 1.0f / __builtin_sqrtf(SumOfSquares(x, n) / static_cast<float>(n) + eps);
}

// x * inv * w, where w may be null.
template <class L>
inline Vec Normed(const float* x, const float* w, Vec inv, L lanes) {
  const Vec v = Mul(Load(x, lanes), inv);
  return w ? Mul(v, Load(w, lanes)) : v;
}

void RmsNorm(const float* x, const float* w, float* y, int64_t n, float eps) {
  const Vec inv = Set(InverseRms(x, n, eps));
  ForVectors(n, [&](int64_t i, auto lanes) {
    Store(y + i, Normed(x + i, w ? w + i : nullptr, inv, lanes), lanes);
  });
}

void AddNorm(float* x, const float* a, const float* w, int64_t n, float eps, float scale) {
  const Vec inv = Set(InverseRms(a, n, eps));
  ForVectors(n, [&](int64_t i, auto lanes) {
    const Vec branch = Normed(a + i, w ? w + i : nullptr, inv, lanes);
    Store(x + i, Mul(Add(Load(x + i, lanes), branch), Set(scale)), lanes);
  });
}

// gelu(v) = v / (1 + e^(-2 u)), u = sqrt(2 / pi) (v + 0.044715 v^3): the tanh form without its
// cancellation at negative v. Overflow of v^3 and of the exponential ends in v and in 0.
void GeluMul(const float* gate, const float* up, float* y, int64_t n) {
  const Vec a = Set(-2 * 0.79788456f), b = Set(-2 * 0.79788456f * 0.044715f);
  ForVectors(n, [&](int64_t i, auto lanes) {
    const Vec v = Load(gate + i, lanes);
    const Vec t = Mul(v, Fma(Mul(v, v), b, a));
    const Vec gelu = Div(v, Add(Set(1.0f), Exp(t)));
    Store(y + i, Mul(gelu, Load(up + i, lanes)), lanes);
  });
}

void NormRope(float* head, const float* w, int64_t d, float eps, const float* cos, const float* sin,
              int64_t pairs, float scale) {
  const Vec inv = Set(InverseRms(head, d, eps)), s = Set(scale);
  const int64_t half = d / 2;
  const float* w2 = w ? w + half : nullptr;
  // The two halves in step: pairs that rotate, then the elements that do not.
  ForVectors(pairs, [&](int64_t i, auto lanes) {
    const Vec x = Normed(head + i, w ? w + i : nullptr, inv, lanes);
    const Vec y = Normed(head + half + i, w ? w2 + i : nullptr, inv, lanes);
    const Vec c = Load(cos + i, lanes), sn = Load(sin + i, lanes);
    Store(head + i, Mul(NegFma(y, sn, Mul(x, c)), s), lanes);
    Store(head + half + i, Mul(Fma(x, sn, Mul(y, c)), s), lanes);
  });
  ForVectors(half - pairs, [&](int64_t k, auto lanes) {
    const int64_t i = pairs + k;
    Store(head + i, Mul(Normed(head + i, w ? w + i : nullptr, inv, lanes), s), lanes);
    Store(head + half + i, Mul(Normed(head + half + i, w ? w2 + i : nullptr, inv, lanes), s),
          lanes);
  });
}

void Softcap(float* x, int64_t n, float cap) {
  const Vec c = Set(cap);
  ForVectors(n, [&](int64_t i, auto lanes) {
    Store(x + i, Mul(c, Tanh(Div(Load(x + i, lanes), c))), lanes);
  });
}

// The largest finite half; NaN ends there too, so that a block never holds anything infinite.
inline Vec ClampToHalf(Vec v) { return Max(Min(v, Set(65504.0f)), Set(-65504.0f)); }

void StoreKv(const float* k, const float* v, int64_t dh, int lane, std::byte* block) {
  uint16_t* column = reinterpret_cast<uint16_t*>(block) + lane;
  uint16_t* row = reinterpret_cast<uint16_t*>(block) + dh * kKvBlock + lane * dh;
  ForVectors(dh, [&](int64_t i, auto lanes) {
    uint16_t half[kVec];
    const int64_t count = i + kVec <= dh ? kVec : dh - i;
    StoreHalf(half, ClampToHalf(Load(k + i, lanes)));
    for (int64_t j = 0; j < count; ++j) column[(i + j) * kKvBlock] = half[j];
    StoreHalf(half, ClampToHalf(Load(v + i, lanes)));
    __builtin_memcpy(row + i, half, static_cast<size_t>(count) * sizeof(uint16_t));
  });
}
