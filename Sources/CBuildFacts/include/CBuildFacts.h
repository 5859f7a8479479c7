#ifndef CBuildFacts_h
#define CBuildFacts_h

/// The commit that this was built from, as Package.swift found it; `unknown` outside of a repository.
/// A C target of its own: a new commit compiles one line of C anew, and no Swift.
const char *_Nonnull CBuildFacts_commit(void);

#endif
