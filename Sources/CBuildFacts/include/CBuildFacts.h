#ifndef CBuildFacts_h
#define CBuildFacts_h

/// The commit that this was built from, as Package.swift found it; `unknown` outside of a repository.
/// A C target of its own: a new commit compiles one line of C anew, and no Swift.
const char *_Nonnull CBuildFacts_commit(void);

/// Stands for `_swift_stdlib_getScalarName` in what packaging/ship.sh links: no character has a name. The standard library's own comes with
/// half a megabyte of names, for `\N{…}` in a regular expression alone.
long CBuildFacts_scalar_name(unsigned scalar, unsigned char *_Nonnull name, long capacity);

#endif
