/*
 * sanitized.h - under a sanitizer everything takes about ten times as long. Loops over many like cases (every read that
 * fails, every place to stop) take a part of them there, spread over all; the plain build takes them all. Where a case
 * is as good as the next for threads, ThreadSanitizer's build takes fewer than AddressSanitizer's.
 */
#ifndef TESTS_SANITIZED_H
#define TESTS_SANITIZED_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

#ifdef __SANITIZE_THREAD__
#define SANITIZED_THREADS 1
#else
#define SANITIZED_THREADS 0
#endif

#endif
