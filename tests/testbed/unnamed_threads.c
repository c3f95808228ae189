// Preloaded into dig, see tests/src/dig.rs.
int pthread_setname_np(unsigned long thread, const char *name) {
    (void)thread;
    (void)name;
    return 0;
}
