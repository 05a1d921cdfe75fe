// Many fits of a logistic with floor and ceiling, by Fisher scoring with Levenberg damping.
//
// The steps are those of skyduel.evaluation.statistics.logistic_fit, which explains them; the
// results differ from its by rounding.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <thread>
#include <vector>

namespace {

constexpr int most_steps = 60;
constexpr double least = 1e-12;  // of a probability, and of one minus it

struct Data {
  const double* x;
  int64_t cells;
  const double *low, *high;  // bounds of the four parameters
  double gain_enough;
};

// Rounded as 0.5 (1 + tanh(t / 2)) is, which takes longer to compute.
double sigmoid(double t) {
  const double e = std::exp(-std::fabs(t));
  const double tanh = std::copysign((1.0 - e) / (1.0 + e), t);
  return 0.5 * (1.0 + tanh);
}

// What a row of parameters gives in every cell.
struct Curve {
  double per_width, floor, ceiling, height;
  std::vector<double> p, rising, u;
};

double evaluate(const Data& data, const double* theta, const double* k, const double* n,
                Curve& curve) {
  curve.per_width = std::exp(-theta[1]);
  curve.ceiling = sigmoid(theta[2]);
  curve.floor = sigmoid(theta[3]);
  curve.height = (1.0 - curve.floor) * curve.ceiling;
  double likelihood = 0.0;
  for (int64_t c = 0; c < data.cells; ++c) {
    if (n[c] == 0.0) continue;
    const double u = (data.x[c] - theta[0]) * curve.per_width;
    const double rising = sigmoid(u);
    const double p = std::clamp(curve.floor + curve.height * rising, least, 1.0 - least);
    curve.u[size_t(c)] = u;
    curve.rising[size_t(c)] = rising;
    curve.p[size_t(c)] = p;
    likelihood += k[c] * std::log(p) + (n[c] - k[c]) * std::log(1.0 - p);
  }
  return likelihood;
}

void differentiate(const Data& data, const double* k, const double* n, const Curve& curve,
                   double* gradient, double (*fisher)[4]) {
  for (int i = 0; i < 4; ++i) {
    gradient[i] = 0.0;
    for (int j = 0; j < 4; ++j) fisher[i][j] = 0.0;
  }
  for (int64_t c = 0; c < data.cells; ++c) {
    if (n[c] == 0.0) continue;
    const double p = curve.p[size_t(c)], rising = curve.rising[size_t(c)];
    const double slope = curve.height * rising * (1.0 - rising);
    const double partial[4] = {-slope * curve.per_width, -slope * curve.u[size_t(c)],
                               curve.height * (1.0 - curve.ceiling) * rising,
                               curve.floor * (1.0 - curve.floor) *
                                   (1.0 - curve.ceiling * rising)};
    const double variance = p * (1.0 - p);
    const double residual = (k[c] - n[c] * p) / variance, weight = n[c] / variance;
    for (int i = 0; i < 4; ++i) {
      gradient[i] += partial[i] * residual;
      for (int j = 0; j <= i; ++j) fisher[i][j] += partial[i] * weight * partial[j];
    }
  }
  for (int i = 0; i < 4; ++i) {
    for (int j = i + 1; j < 4; ++j) fisher[i][j] = fisher[j][i];
  }
}

// Solve a 4 by 4 system by elimination with row exchanges; b becomes the solution.
void solve(double (*a)[4], double* b) {
  for (int i = 0; i < 4; ++i) {
    int best = i;
    for (int r = i + 1; r < 4; ++r) {
      if (std::fabs(a[r][i]) > std::fabs(a[best][i])) best = r;
    }
    if (best != i) {
      std::swap_ranges(a[i], a[i] + 4, a[best]);
      std::swap(b[i], b[best]);
    }
    for (int r = i + 1; r < 4; ++r) {
      const double factor = a[r][i] / a[i][i];
      for (int c = i + 1; c < 4; ++c) a[r][c] -= factor * a[i][c];
      b[r] -= factor * b[i];
    }
  }
  for (int i = 3; i >= 0; --i) {
    for (int c = i + 1; c < 4; ++c) b[i] -= a[i][c] * b[c];
    b[i] /= a[i][i];
  }
}

void fit(const Data& data, const double* k, const double* n, double* theta, Curve& now,
         Curve& next) {
  for (int i = 0; i < 4; ++i) theta[i] = std::min(std::max(theta[i], data.low[i]), data.high[i]);
  double gradient[4], fisher[4][4], damping = 1e-3;
  double best = evaluate(data, theta, k, n, now);
  differentiate(data, k, n, now, gradient, fisher);
  for (int iteration = 0; iteration < most_steps; ++iteration) {
    double damped[4][4], step[4], trial[4];
    bool free[4];
    for (int i = 0; i < 4; ++i) {
      free[i] = !((theta[i] <= data.low[i] && gradient[i] < 0.0) ||
                  (theta[i] >= data.high[i] && gradient[i] > 0.0));
      step[i] = free[i] ? gradient[i] : 0.0;
    }
    for (int i = 0; i < 4; ++i) {
      for (int j = 0; j < 4; ++j) damped[i][j] = free[i] && free[j] ? fisher[i][j] : 0.0;
      const double scale = damped[i][i];
      damped[i][i] += damping * scale + 1e-9 * (1.0 + scale);
    }
    solve(damped, step);
    for (int i = 0; i < 4; ++i) {
      trial[i] = std::min(std::max(theta[i] + step[i], data.low[i]), data.high[i]);
    }
    const double gain = evaluate(data, trial, k, n, next) - best;
    if (gain > 0.0) {
      std::copy(trial, trial + 4, theta);
      best += gain;
      damping /= 5.0;
      if (!(gain > data.gain_enough)) break;
      std::swap(now, next);
      differentiate(data, k, n, now, gradient, fisher);
    } else {
      damping *= 5.0;
      if (!(damping < 1e6)) break;
    }
  }
}

}  // namespace

extern "C" {

// k, n: shape (rows, cells). theta: shape (rows, 4), overwritten by the fits. Returns 0, or 1 when
// memory runs out.
__attribute__((visibility("default"))) int64_t skyduel_fit_logistic(
    const double* x, int64_t cells, const double* k, const double* n, int64_t rows,
    const double* low, const double* high, double gain_enough, int64_t threads, double* theta) {
  const Data data{x, cells, low, high, gain_enough};
  const int64_t parts = std::max<int64_t>(1, std::min<int64_t>(threads, rows / 64));
  bool failed = false;
  const auto work = [&](int64_t part) {
    try {
      const size_t size = size_t(cells);
      Curve now{0, 0, 0, 0, std::vector<double>(size), std::vector<double>(size),
                std::vector<double>(size)};
      Curve next = now;
      // Rows of one part alternate with those of others: neighbours take about as long.
      for (int64_t r = part; r < rows; r += parts) {
        fit(data, k + r * cells, n + r * cells, theta + 4 * r, now, next);
      }
    } catch (...) {
      failed = true;
    }
  };
  std::vector<std::thread> others;
  int64_t started = 1;
  try {
    for (; started < parts; ++started) others.emplace_back(work, started);
  } catch (...) {  // no more threads: the rest is done here
  }
  work(0);
  for (int64_t part = started; part < parts; ++part) work(part);
  for (auto& thread : others) thread.join();
  return failed;
}
}
