// What the headers of gcc 12 ask of a libstdc++ or glibc newer than those of manylinux_2_28 (gcc 8,
// glibc 2.28). Linked into each library as an archive whose symbols stay inside
// (old_glibc.sh). Red Hat's newer compilers do the same with libstdc++_nonshared.a.
#define _GLIBCXX_EXTERN_TEMPLATE 0
#include <ios>
#include <new>
#include <sstream>

namespace std {

// GLIBCXX_3.4.29
void __throw_bad_array_new_length() {
  throw bad_array_new_length();
}

// GLIBCXX_3.4.29, in C++20
template string basic_stringbuf<char>::str() const&;
template string basic_stringbuf<char>::str() &&;

// GLIBCXX_3.4.26
template basic_ostringstream<char>::basic_ostringstream();

} // namespace std

// GLIBC_2.32: false chooses atomic counts, which are always right.
extern "C" {
char __libc_single_threaded = 0;
}
