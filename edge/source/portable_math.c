// Elementary functions from the four operations and the square root only, which IEEE 754 rounds
// alike everywhere: those of two C libraries differ in the last bit, and a catalogue with them.
// Linked into the program, they stand before the C library's. Errors are a few units of the last
// place. Compile without fused products and sums.
#include <math.h>
#include <stdint.h>
#include <string.h>

static double times_two_to(double x, int64_t n) {
  while (n > 1000) x *= 0x1p1000, n -= 1000;
  while (n < -1000) x *= 0x1p-1000, n += 1000;
  const uint64_t bits = (uint64_t)(n + 1023) << 52;
  double factor;
  memcpy(&factor, &bits, sizeof factor);
  return x * factor;
}

double exp(double x) {
  if (x != x) return x;
  if (x > 709.79) return INFINITY;
  if (x < -745.2) return 0.0;
  const double scaled = x * 0x1.71547652b82fep+0;  // over ln 2
  const int64_t n = (int64_t)(scaled + (scaled < 0 ? -0.5 : 0.5));
  // ln 2 in two parts, of which the first has few bits.
  const double r = (x - (double)n * 0x1.62e42feep-1) - (double)n * 0x1.a39ef35793c76p-33;
  double sum = 1.0;
  for (int k = 14; k > 0; --k) sum = 1.0 + r / k * sum;
  return times_two_to(sum, n);
}

double log(double x) {
  if (x != x || x < 0) return NAN;
  if (x == 0) return -INFINITY;
  if (x > 0x1.fffffffffffffp1023) return x;
  int64_t n = 0;
  if (x < 0x1p-1022) x *= 0x1p54, n = -54;
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  n += (int64_t)(bits >> 52) - 1023;
  bits = (bits & 0xfffffffffffffULL) | (1023ULL << 52);
  double m;
  memcpy(&m, &bits, sizeof m);
  if (m > 0x1.6a09e667f3bcdp0) m *= 0.5, ++n;  // to within a factor √2 of 1
  const double s = (m - 1.0) / (m + 1.0), s2 = s * s;
  double sum = 0.0;
  for (int k = 23; k > 0; k -= 2) sum = 1.0 / k + s2 * sum;
  return (double)n * 0x1.62e42feep-1 + (2.0 * s * sum + (double)n * 0x1.a39ef35793c76p-33);
}

float logf(float x) { return (float)log((double)x); }
float expf(float x) { return (float)exp((double)x); }

double log1p(double x) {
  const double u = 1.0 + x;
  return u == 1.0 ? x : log(u) * (x / (u - 1.0));
}

double asinh(double x) {
  const double a = fabs(x), y = log1p(a + a * a / (1.0 + sqrt(a * a + 1.0)));
  return x < 0 ? -y : y;
}

double tanh(double x) {
  const double e = exp(-2.0 * fabs(x)), y = (1.0 - e) / (1.0 + e);
  return x < 0 ? -y : y;
}

double asin(double x) {
  const double half_pi = 0x1.921fb54442d18p+0;
  if (!(fabs(x) < 1.0)) return x == 1.0 ? half_pi : (x == -1.0 ? -half_pi : NAN);
  double t = x / sqrt((1.0 - x) * (1.0 + x));
  for (int k = 0; k < 3; ++k) t = t / (1.0 + sqrt(1.0 + t * t));  // the tangent of half the angle
  const double t2 = t * t;
  double sum = 0.0;
  for (int k = 27; k > 0; k -= 2) sum = 1.0 / k - t2 * sum;
  return 8.0 * t * sum;
}
